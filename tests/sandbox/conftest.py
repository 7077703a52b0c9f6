import json
from pathlib import Path

import pytest

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Job, Limits
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.interface import SandboxConfiguration

ZOO = Path(__file__).parents[2] / "examples" / "zoo"


@pytest.fixture(scope="module", params=["landlock", "namespace"])
def opened(request):
    """Each backend on the zoo's base, once per module: starting a worker takes seconds."""
    try:
        sandbox = open_sandbox(SandboxConfiguration(base=ZOO / "base"), force=request.param)
    except ObservationError as error:
        pytest.skip(f"{request.param}: {error}")
    with sandbox:
        yield request.param, sandbox


@pytest.fixture
def sandbox(opened):
    return opened[1]


@pytest.fixture
def base():
    return ZOO / "base"


@pytest.fixture
def zoo():
    def files(name):
        return {path.name: path.read_bytes() for path in (ZOO / "adapters" / name).iterdir()}

    return files


@pytest.fixture
def cases():
    def read(suite):
        return [json.loads(line) for line in (ZOO / "suites" / suite / "cases.jsonl").read_text().splitlines()]

    return read


@pytest.fixture
def exercise():
    """Runs requests as one job; gives the result and the replies that came."""

    def run(sandbox, adapter, *requests, limits=None):
        replies = []

        def converse(ask):
            replies.extend(ask(request) for request in requests)

        return sandbox.run(Job(adapter, limits or Limits()), converse), replies

    return run
