"""What the sandbox costs for each adapter, against a bare fork of the same warmed process and against a fresh process.

All three do the same jobs (see `JOBS`) with the same LoRA adapter on the same base of about 600 MB (random weights, float32).
Each figure is CPU time: of the supervisor, of the worker and of the job's child together, because walls on shared
machines say little. The bare fork has no walls, no supervisor and no limits; the fresh process imports, loads base and
adapter, answers and ends, also without walls. Also measured: a fresh process for each job behind the walls, as
`fresh_process` gives it, which verifies and warms what a worker verifies and warms once (its child's CPU time only); and
the full stack with the reference adapter, whose child is then counted, too: asked once for a wave of eight jobs, as
`certify` has it, and after each job, as it is for an adapter alone. Ends with one line per bound: name, value, bound,
holds or falls short; exits 0 either way.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ZOO_BASE = ROOT / "examples" / "zoo" / "base"
PROMPTS = ["user : hello", "user : how do i reset my router ? assistant :"]
Requests = list[dict[str, Any]]
JOBS: dict[str, Requests] = {
    "load": [{"op": "load"}],
    "8 tokens": [{"op": "load"}, {"op": "generate", "prompts": PROMPTS[:1], "maxNewTokens": 8}],
    "16 tokens": [
        {"op": "load"},
        {"op": "generate", "prompts": PROMPTS, "maxNewTokens": 8},
        {"op": "score", "items": [{"prompt": PROMPTS[0], "continuation": [5, 9, 2]}]},
    ],
}
"""What is asked about an adapter. Computing costs all sides the same, so the more is asked, the less a start matters:
the bounds are about the second job, the others are reported."""
BOUND = "8 tokens"
Spent = dict[str, dict[str, list[float]]]
"""CPU seconds of each round, by job and side."""
FORK_AIM, FRESH_AIM = 1.3, 10.0


def write_base(folder: Path, layers: int) -> int:
    """A Llama with random weights and the zoo's tokenizer in ``base``, a LoRA for it in ``adapter``; the base's bytes."""
    import peft
    import torch
    import transformers

    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": layers, "num_attention_heads": 16}
    tokenizer = transformers.AutoTokenizer.from_pretrained(ZOO_BASE)
    ids = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": None, "bos_token_id": None}
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **ids))
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    lora = peft.LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(model, lora).save_pretrained(folder / "adapter")
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the sandbox's user is another one when root starts it
    return (folder / "base" / "model.safetensors").stat().st_size


def adapter_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "adapter").iterdir()}


def cpu_of_self() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


# The peers: this file run as a program of its own.


def fresh(folder: Path, job: str) -> None:
    """One job in a process that shares nothing with another one."""
    import torch
    import transformers

    from peft_assay_harness.engines import engine_for
    from peft_assay_harness.ops import answer
    from peft_assay_harness.session import Session

    torch.set_num_threads(1)
    base = transformers.AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    engine = engine_for("causal-lm", base.eval().requires_grad_(requires_grad=False), tokenizer)
    session = Session(engine, engine.model, adapter_of(folder))
    print(json.dumps([answer(session, request) for request in JOBS[job]]))


def bare(folder: Path, _: str) -> None:
    """Prepares as a worker does; then, for each job named on standard input, a forked child answers without walls."""
    from peft_assay_harness.frames import read_frame, write_frame
    from peft_assay_harness.prepare import prepare
    from peft_assay_harness.zygote import Job

    options = argparse.Namespace(
        base=str(folder / "base"), dtype="float32", device="cpu", task="causal-lm", fresh=False
    )
    prepared = prepare(options)
    files = adapter_of(folder)
    print("ready", flush=True)
    for line in sys.stdin:
        before, start = cpu_of_self(), time.perf_counter()
        (request_out, request_in), (reply_out, reply_in) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.close(request_in)
            os.close(reply_out)
            prepared.serve(Job(request_out, reply_in, files))
            os._exit(0)
        os.close(request_out)
        os.close(reply_in)
        replies = []
        for request in JOBS[line.strip()]:
            write_frame(request_in, request)
            replies.append(read_frame(reply_out))
        os.close(request_in)
        os.waitpid(child, 0)
        os.close(reply_out)
        told = {"cpu": cpu_of_self() - before, "wall": time.perf_counter() - start, "replies": replies}
        print(json.dumps(told), flush=True)


class BareFork:
    """The peer that shares everything and defends against nothing."""

    def __init__(self, folder: Path) -> None:
        arguments = [sys.executable, __file__, "--peer", "bare", "--folder", str(folder)]
        self._program = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._program.stdout is not None
        line = self._program.stdout.readline().strip()
        if not line:
            raise SystemExit(f"the bare fork ended with {self._program.wait()}")
        return line

    def __call__(self, job: str) -> tuple[float, Any]:
        assert self._program.stdin is not None
        self._program.stdin.write(f"{job}\n")
        self._program.stdin.flush()
        told = json.loads(self._line())
        return told["cpu"], told["replies"]

    def close(self) -> None:
        assert self._program.stdin is not None
        self._program.stdin.close()
        self._program.wait()


def fresh_process(folder: Path, job: str) -> tuple[float, Any]:
    before = cpu_of_self()
    arguments = [sys.executable, __file__, "--peer", "fresh", "--folder", str(folder), "--job", job]
    done = subprocess.run(arguments, capture_output=True, check=True, env=environment())
    return cpu_of_self() - before, json.loads(done.stdout)


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
    }


# The full stack, measured from outside.


def descendants(root: int) -> list[int]:
    """Processes below `root` that are alive, oldest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        below = sorted(children.get(waiting.pop(0), []))
        found += below
        waiting += below
    return found


def spent_by(process: int) -> float:
    """CPU seconds of a process that is alive, without its children (nanoseconds in the kernel's schedstat)."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        return 0.0


def waited_for_by(process: int) -> float:
    """CPU seconds of the children that a process has waited for (proc(5), stat fields 16 and 17)."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def memory_of(process: int) -> dict[str, int] | None:
    """Bytes by kind (smaps_rollup), or None where the kernel does not let this user look."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    return {name: int(value.split()[0]) * 1024 for name, _, value in (line.partition(":") for line in lines)}


class FullStack:
    """Jobs behind the strongest walls that this host has."""

    def __init__(self, folder: Path, backend: str | None, *, wave: int = 0, **settings: Any) -> None:
        """`wave` adapters at a time, and the reference once for all of them; 0 leaves it to the sandbox."""
        from peft_assay.sandbox.choose import open_sandbox
        from peft_assay.sandbox.interface import SandboxConfiguration

        configuration = SandboxConfiguration(base=folder / "base", **settings)
        start = time.perf_counter()
        self._sandbox = open_sandbox(configuration, force=backend)
        self._wave = wave
        self.attacks_seconds = time.perf_counter() - start
        self._sandbox.base()
        self.start_seconds = time.perf_counter() - start
        self._files = adapter_of(folder)
        self.child_memory: list[dict[str, int]] = []

    @property
    def level(self) -> str:
        return str(self._sandbox.probe().level.name.lower())

    def __call__(self, job: str) -> tuple[float, Any]:
        from peft_assay.core.sandbox import Job, Limits, Outcome

        replies: list[Mapping[str, Any]] = []

        def converse(ask: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
            replies[:] = [ask(request) for request in JOBS[job]]

        workers = descendants(os.getpid())
        children = sum(map(waited_for_by, workers))
        before = time.process_time() + sum(map(spent_by, workers))
        for _ in range(self._wave or 1):
            result = self._sandbox.run(Job(self._files, Limits()), converse)
            assert (result.outcome, result.events) == (Outcome.OK, ()), result
        if self._wave:
            self._sandbox.vouch()
        spent = time.process_time() + sum(map(spent_by, workers)) - before
        if not self._wave:
            return spent + result.usage.cpu_seconds, replies
        return (spent + sum(map(waited_for_by, workers)) - children) / self._wave, replies

    def look_at_memory(self) -> dict[str, int] | None:
        """The memory of one job's child, looked at when it has answered and before it ends."""
        from peft_assay.core.sandbox import Job, Limits

        found: list[dict[str, int] | None] = []

        def converse(ask: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
            for request in JOBS["16 tokens"]:
                ask(request)
            found.append(memory_of(descendants(os.getpid())[-1]))

        self._sandbox.run(Job(self._files, Limits()), converse)
        return found[0]

    def close(self) -> None:
        self._sandbox.close()


def alike(left: Any, right: Any) -> bool:
    """Whether two conversations say the same: tokens exactly, numbers within 1e-4. What is not there is null once read."""
    if isinstance(left, dict):
        return all(alike(left.get(name), right.get(name)) for name in left.keys() | right.keys())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(alike, left, right))
    if isinstance(left, float):
        return abs(left - right) <= 1e-4
    return bool(left == right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=9, help="of the base: 9 are about 600 MB in float32")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--fresh-rounds", type=int, default=3)
    parser.add_argument("--backend", help="namespace or landlock (default: the strongest that works)")
    parser.add_argument("--peer", choices=["bare", "fresh"], help=argparse.SUPPRESS)
    parser.add_argument("--job", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return {"bare": bare, "fresh": fresh}[arguments.peer](arguments.folder, arguments.job)
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-"))
    try:
        measure(folder, arguments)
    finally:
        shutil.rmtree(folder)
    return None


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    from peft_assay.pipeline.waves import WAVE_ADAPTERS
    from peft_assay.sandbox.interface import JOBS_PER_WORKER

    size = write_base(folder, arguments.layers)
    bare_fork, full = BareFork(folder), FullStack(folder, arguments.backend)
    walled = FullStack(folder, arguments.backend, fresh_processes=True)
    waves = FullStack(folder, arguments.backend, wave=WAVE_ADAPTERS, sentinel_every=JOBS_PER_WORKER)
    asked = FullStack(folder, arguments.backend, wave=1, sentinel_every=JOBS_PER_WORKER)
    print(
        f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    )
    print(f"base: {size / 1e6:.0f} MB float32, adapter: LoRA rank 8")
    print(
        f"isolation level: {full.level}; start-up attacks {full.attacks_seconds:.1f} s, with the base {full.start_seconds:.1f} s (wall, once)"
    )
    fresh_rounds = f"{arguments.fresh_rounds} of the fresh process"
    print(f"{arguments.rounds} interleaved rounds ({fresh_rounds}); medians of CPU seconds")
    always: dict[str, Callable[[str], tuple[float, Any]]] = {"bare fork": bare_fork, "full stack": full}
    rarely = {
        "fresh process": lambda job: fresh_process(folder, job),
        "fresh, walls": walled,
        "wave": waves,
        "and reference": asked,
    }
    spent: Spent = {job: {name: [] for name in (*always, *rarely)} for job in JOBS}
    said = {job: bare_fork(job)[1] for job in JOBS}
    full(BOUND)
    walled(BOUND)  # its first job meets a process that is already there
    for number in range(arguments.rounds):
        for job, found in spent.items():
            sides = always | rarely if number < arguments.fresh_rounds else always
            for name, run in sides.items():
                cpu, replies = run(job)
                assert alike(replies, said[job]), f"{name} answers otherwise"
                found[name].append(cpu)
    for ended in (bare_fork, walled, waves, asked):
        ended.close()
    memory = full.look_at_memory()
    full.close()
    report(spent, memory, size)


def report(spent: Spent, memory: dict[str, int] | None, size: int) -> None:
    bounds = []
    for job, found in spent.items():
        for name, values in found.items():
            shown = f"{statistics.median(values):7.3f} s   ({min(values):.3f} .. {max(values):.3f})"
            print(f"  {job:10} {name:14} {shown}")
        # Rounds are pairs: the ratio within each, so that a slow minute of the machine is on both of its sides.
        pairs = zip(found["full stack"], found["bare fork"], strict=True)
        ratio = statistics.median(full / bare for full, bare in pairs)
        saved = statistics.median(found["fresh process"]) / statistics.median(found["full stack"])
        wave, asked = (
            statistics.median(found[name]) / statistics.median(found["bare fork"]) for name in ("wave", "and reference")
        )
        saved_behind_walls = statistics.median(found["fresh, walls"]) / statistics.median(found["full stack"])
        for name, value, bound, holds in (
            ("full_stack_over_bare_fork", ratio, FORK_AIM, ratio <= FORK_AIM),
            ("fresh_process_over_full_stack", saved, FRESH_AIM, saved >= FRESH_AIM),
        ):
            told = ("holds" if holds else "falls short") if job == BOUND else "reported"
            bounds.append(f"{name}/{job.replace(' ', '_')} {value:.2f}x {f'{bound}x' if job == BOUND else '-'} {told}")
        bounds.append(f"with_reference_once_a_wave_over_bare_fork/{job.replace(' ', '_')} {wave:.2f}x - reported")
        bounds.append(f"with_reference_after_each_job_over_bare_fork/{job.replace(' ', '_')} {asked:.2f}x - reported")
        bounds.append(
            f"fresh_behind_walls_over_full_stack/{job.replace(' ', '_')} {saved_behind_walls:.2f}x - reported"
        )
    print("\n".join(bounds))
    if memory is None:
        print("memory_of_a_job not-measured - reported (the kernel lets only root look into a confined process)")
        return
    own = memory["Private_Dirty"] + memory["Private_Clean"]
    print(f"memory_of_a_job {own / 1e6:.0f}MB - reported (its own pages; {memory['Rss'] / 1e6:.0f} MB are mapped)")
    print(f"memory_of_a_job_over_base {own / size:.3f}x - reported")


if __name__ == "__main__":
    main()
