import shutil
import tempfile
from pathlib import Path

import pytest

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Job, Limits
from peft_assay.sandbox.choose import BACKENDS
from peft_assay.sandbox.interface import Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import attack_program, try_attacks
from peft_assay.sandbox.supervisor import Supervisor
from peft_assay.sandbox.surroundings import harness_program, mounts_for

HOSTILE = Path(__file__).parent / "hostile_worker"
QUICK = Limits(wall_seconds=20.0, cpu_seconds=15, memory_bytes=64 << 20, output_bytes=1 << 20)


@pytest.fixture(scope="session")
def empty_base():
    """No model is needed: what is tried are the walls. Readable for the sandbox's user, so not below pytest's own
    folder, which every session makes private again."""
    folder = Path(tempfile.mkdtemp(prefix="assay-base-"))
    (folder / "config.json").write_text("{}")
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module", params=sorted(BACKENDS))
def backend_name(request):
    return request.param


@pytest.fixture(scope="module")
def backend(backend_name):
    try:
        return BACKENDS[backend_name]()
    except ObservationError as error:
        pytest.skip(f"{backend_name}: {error}")


@pytest.fixture(scope="module")
def findings(backend, empty_base):
    program = harness_program()
    configuration = SandboxConfiguration(base=empty_base)
    try:
        return try_attacks(backend, attack_program(program), mounts_for(program, empty_base), configuration)
    except ObservationError as error:
        pytest.skip(f"{backend.name}: {error}")


@pytest.fixture(scope="module")
def hostile(backend, findings, empty_base):
    """A sandbox, built by the real supervisor and backend, in which the hostile worker runs."""
    folders = (HOSTILE, *harness_program().folders)
    program = Program("hostile_worker", folders)
    configuration = SandboxConfiguration(base=empty_base, limits=QUICK)
    mounts = mounts_for(program, empty_base)
    with Supervisor(backend, program, mounts, configuration, findings, ()) as supervisor:
        yield supervisor


@pytest.fixture
def do(hostile):
    """Runs hostile deeds as one job; gives the result and the replies that came."""

    def run(*deeds, limits=QUICK, adapter=None):
        replies = []

        def converse(ask):
            for deed in deeds:
                replies.append(ask({"op": "score", "items": [{}] * deed.pop("values", 1), **deed}))

        return hostile.run(Job(adapter, limits), converse), replies

    return run


@pytest.fixture
def still_sound(do):
    """The next job after an attack is answered as if nothing had been."""

    def check():
        result, replies = do({"do": "answer"})
        assert (result.outcome.value, result.events, len(replies)) == ("ok", (), 1)

    return check
