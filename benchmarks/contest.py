"""Two command lines on the same deployments, run in turn: `peft-assay certify` for all adapters, `lm_eval` for each."""

import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import testbed
from metering import Metered, metered

HERE = Path(__file__).parent
DTYPES = ("float32", "bfloat16")
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PROGRAM = (sys.executable, "-m", "peft_assay")
ALL_CORES = ", all cores"
ROUNDS = 3
"""Of the runs that show whether cost is linear in items, and of those on all cores, whose walls count: medians."""


@dataclass
class Side:
    """What one kind of run spent, round by round, and what it said."""

    spent: list[Metered] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        return statistics.median(run.cpu for run in self.spent)

    @property
    def wall(self) -> float:
        return statistics.median(run.wall for run in self.spent)


class Bench:
    """One interleaved run: which program is started how, and what it gave."""

    def __init__(self, folder: Path, adapters: int, items: int) -> None:
        self.folder, self.adapters, self.items = folder, adapters, items
        self.runs = folder / "runs"
        shutil.rmtree(self.runs, ignore_errors=True)
        self.runs.mkdir()
        self.sides: dict[str, Side] = {}
        self.due = 0
        """Runs that there will be, where that is known."""
        self._numbers = count(1)

    def certify(
        self,
        name: str,
        base: str,
        *,
        dtype: str = "float32",
        items: int | None = None,
        adapters: int | None = None,
        all_cores: bool = False,
    ) -> None:
        """`peft-assay certify` in a project of its own, from nothing: with one worker, or as anybody calls it."""
        chosen = testbed.items_of(self.folder, items or self.items)
        place = testbed.deployment(self.folder, base)
        project = testbed.write_project(self._fresh(), place / "base", chosen, dtype)
        adapted = [str(place / "adapters" / f"a{number}") for number in range(adapters or self.adapters)]
        if all_cores:
            self._note(
                f"{name}, {base}", plain_certify(project, adapted, environment(self.folder, all_cores=True)), None
            )
            return
        surroundings = environment(self.folder) | {"BENCH_KEEP_ANSWERS": "1"}
        self._note(f"{name}, {base}", *one_worker(project, adapted, surroundings))

    def lm_eval(self, name: str, base: str, adapter: int, *, items: int | None = None, all_cores: bool = False) -> None:
        """`lm_eval` for one adapter: with one thread, or with as many as torch takes."""
        place = self._fresh()
        tasks = testbed.write_tasks(place / "tasks", testbed.items_of(self.folder, items or self.items))
        deployed = testbed.deployment(self.folder, base)
        model = f"pretrained={deployed / 'base'},peft={deployed / 'adapters' / f'a{adapter}'},dtype=float32"
        command = [str(Path(sys.executable).with_name("lm_eval")), "--model", "hf", "--model_args", model]
        command += ["--include_path", str(tasks), "--tasks", ",".join(f"assay_{suite}" for suite in testbed.SUITES)]
        command += ["--device", "cpu", "--batch_size", "16", "--output_path", str(place / "out"), "--log_samples"]
        spent = metered(command, environment(self.folder, all_cores=all_cores), place)
        self._note(f"{name}, {base}", spent, {"adapter": f"a{adapter}", **_samples(place / "out")})

    def _fresh(self) -> Path:
        """A folder that is not there yet."""
        return self.runs / f"{next(self._numbers):02}"

    def _note(self, name: str, spent: Metered, said: Any) -> None:
        side = self.sides.setdefault(name, Side())
        side.spent.append(spent)
        side.said.append(said)
        done = sum(len(each.spent) for each in self.sides.values())
        print(f"  {done:2} of {self.due}  {name:46} {spent.cpu:7.1f} CPU-s  {spent.wall:7.1f} s wall", flush=True)


def one_worker(project: Path, adapters: list[str], surroundings: dict[str, str]) -> tuple[Metered, Any]:
    """`certify` with one worker, however many adapters there are, watched: with the log of its jobs."""
    options = ["--workers", "1", "--trust", str(_trust(project, surroundings)), "--format", "json"]
    log = project / "log.json"
    command = [sys.executable, str(HERE / "watched.py"), str(log), "certify", *adapters]
    return metered([*command, *options], surroundings, project), json.loads(log.read_text())


def plain_certify(project: Path, adapters: list[str], surroundings: dict[str, str]) -> Metered:
    """`certify` as anybody calls it."""
    trust = _trust(project, surroundings)
    return metered([*PROGRAM, "certify", *adapters, "--trust", str(trust), "--format", "json"], surroundings, project)


def _trust(project: Path, surroundings: dict[str, str]) -> Path:
    """The project's trust anchor; making it is not counted."""
    trust = project.with_name(f"{project.name}-trust")
    if not trust.exists():
        metered([*PROGRAM, "init", str(project), "--trust", str(trust)], surroundings, project)
    return trust


def environment(folder: Path, *, all_cores: bool = False) -> dict[str, str]:
    """One thread unless the machine is to be used as it is, no network, and nothing left in anybody's caches."""
    inherited = {name: value for name, value in os.environ.items() if name not in THREADS}
    return {
        **inherited,
        **({} if all_cores else THREADS),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "PYTHONWARNINGS": "ignore",
    }


def _samples(out: Path) -> dict[str, Any]:
    """lm-eval's own answers: log-likelihoods by item, texts by item."""
    told: dict[str, Any] = {"choices": {}, "texts": {}}
    for path in out.rglob("samples_*.jsonl"):
        suite = "choices" if "assay_choices" in path.name else "texts"
        for line in path.read_text("utf-8").splitlines():
            sample = json.loads(line)
            given = sample["resps"]
            value = [float(one[0][0]) for one in given] if suite == "choices" else given[0][0]
            told[suite][sample["doc"]["id"]] = value
    return told


def shares(items: int) -> list[int]:
    """How many items the runs have that show whether cost is linear in them."""
    return [items // 4, items // 2, items]


def interleave(bench: Bench, at_once: int, peers: int) -> None:
    """All runs of the comparison, ours in between theirs, so that a slow minute meets both; `at_once` of them at a time.

    `lm_eval` runs for `peers` of the trained adapters, for few of them on all cores, and for one random one: it does the
    same work for each.
    """
    ordinary, hard = _ours(bench, testbed.TRAINED), _ours(bench, testbed.RANDOM)
    plan = iter([*_with_all_cores(bench), *ordinary, *hard, *ordinary])
    theirs = [
        *(
            partial(bench.lm_eval, f"lm_eval{ALL_CORES}", testbed.TRAINED, number, all_cores=True)
            for number in range(min(ROUNDS, bench.adapters))
        ),
        *(partial(bench.lm_eval, "lm_eval, one item each", base, 0, items=1) for base in testbed.BASES),
        partial(bench.lm_eval, "lm_eval", testbed.RANDOM, 0),
        *(partial(bench.lm_eval, "lm_eval", testbed.TRAINED, number) for number in range(peers)),
    ]
    runs: list[Callable[[], None]] = []
    for peer in theirs:
        runs += [peer, *islice(plan, 2)]
    runs += plan
    bench.due = len(runs) + ROUNDS * len(shares(bench.items))
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for done in [pool.submit(run) for run in runs]:
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)  # one that fails ends it at once, not after all the others


def _ours(bench: Bench, base: str) -> list[Callable[[], None]]:
    return [
        *(partial(bench.certify, f"certify, {dtype}", base, dtype=dtype) for dtype in DTYPES),
        partial(bench.certify, "certify, float32, one item each", base, items=1),
    ]


def _with_all_cores(bench: Bench) -> list[Callable[[], None]]:
    return [
        partial(bench.certify, f"certify, {dtype}{ALL_CORES}", testbed.TRAINED, dtype=dtype, all_cores=True)
        for _ in range(ROUNDS)
        for dtype in DTYPES
    ]
