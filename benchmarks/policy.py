"""What policies cost: one evaluation of the default policy, and `policy diff` over thousands of stored observation sets.

The stored sets are signed with development keys and recorded in a real workspace, as `certify` does; `diff` verifies each
signature and evaluates two policies. Its bound is linearity: cost of twice the sets. Ends with one line per bound: name, value,
bound, holds or falls short; exits 0 either way.
"""

import argparse
import contextlib
import io
import os
import platform
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from peft_assay.cli.main import run
from peft_assay.core.artifact import Artifact, File
from peft_assay.core.digest import sha256
from peft_assay.core.observation import ObservedBy, ok, sort_observations
from peft_assay.evaluate.builtin import builtin_fixtures, builtin_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.fixtures import read_fixtures
from peft_assay.pipeline.deployment import Deployment, utc_now
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.policy.diff import diff
from peft_assay.pipeline.policy.read import PolicyText
from peft_assay.pipeline.project import Observed, build_lock
from peft_assay.trust.observations import ObservationAct, observation_document
from peft_assay.trust.roles import Role

ZOO = Path(__file__).parents[1] / "examples" / "zoo"
SUITES = ("support_task", "lookups", "refusals")


def project(folder: Path) -> Place:
    """The zoo's project without its adapters, and development keys."""
    shutil.copytree(ZOO, folder / "project", ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    place = Place(folder / "project" / "peft-assay.yaml", None, folder / "trust")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert run(["init", str(folder / "project"), "--trust", str(folder / "trust")]) == 0
    return place


def record(deployment: Deployment, first: int, last: int) -> None:
    """Observation sets number `first` to `last` - 1, each of an artifact of its own; every second one forgets the task."""
    values = read_fixtures(builtin_fixtures("default"), "default").base
    sealer = deployment.sealer(Role.SANDBOX)
    observed = Observed(sha256(b"state"), {}, sha256(b"harness"))
    for number in range(first, last):
        digest = sha256(str(number).encode())
        artifact = Artifact((File("adapter_config.json", number, digest),))
        lock = build_lock(deployment.project, observed, artifact.digest)
        seen = dict(values) | {"suite.support_task.lower": 0.8 if number % 2 else 0.95}
        act = ObservationAct(
            artifact=artifact,
            conditions=lock.document["conditions"],
            attestation={"level": 20},
            started_at=utc_now(),
            finished_at=utc_now() + timedelta(seconds=1),
            attempt=1,
            observations=sort_observations(ok(name, value, by=ObservedBy.SUPERVISOR) for name, value in seen.items()),
        )
        envelope = sealer.seal(observation_document(act, keyid=sealer.keyid))
        deployment.workspace.add_observations(
            envelope, artifact=artifact.digest, conditions=lock.conditions, observed_at=utc_now(), at=utc_now()
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2000, help="evaluations of one policy")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-"))
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    try:
        with Deployment.open(project(folder), create=True) as deployment:
            measure(deployment, arguments.sets, arguments.rounds)
    finally:
        shutil.rmtree(folder)


def measure(deployment: Deployment, sets: int, rounds: int) -> None:
    default = PolicyText("builtin:default", builtin_policy("default"), "builtin:default")
    stricter = replace(default, content=default.content.replace(b"floor: 0.7", b"floor: 0.9"))
    walls, cpu = {}, {}
    done = 0
    for wanted in (sets // 2, sets):
        record(deployment, done, wanted)
        done = wanted
        start, before = time.perf_counter(), time.process_time()
        found = diff(deployment, default, stricter, now=utc_now())
        walls[wanted], cpu[wanted] = time.perf_counter() - start, time.process_time() - before
        assert found.sets == wanted
        assert len(found.moved) == wanted // 2
        print(f"  policy diff over {wanted:6} sets: {walls[wanted]:6.2f} s, {cpu[wanted]:6.2f} CPU-s")
    compiled = default.compiled(SUITES)
    newest = next(deployment.workspace.newest_observations())
    observations = deployment.record_of(newest).observations
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        evaluate(compiled, observations, sha256(b"lock"))
        times.append(time.perf_counter() - start)
    median = statistics.median(times) * 1e3
    print(f"  one evaluation of {len(compiled.rules)} rules: median {median:.3f} ms, worst {max(times) * 1e3:.3f} ms")
    ratio = cpu[sets] / cpu[sets // 2]
    print(f"evaluation_of_{len(compiled.rules)}_rules {median:.3f}ms 1ms {'holds' if median < 1 else 'falls short'}")
    print(f"diff_cost_of_twice_the_sets {ratio:.2f}x 2.2x {'holds' if ratio <= 2.2 else 'falls short'}")
    print(f"diff_per_set {cpu[sets] / sets * 1e3:.3f}ms - reported")


if __name__ == "__main__":
    main()
