"""What certifying behaviour costs: eight LoRA adapters, against lm-evaluation-harness's command line once for each.

Both sides get the same base, adapters and items, one thread or one worker, no network; and that twice (see testbed.py): on a base that
was trained, with adapters trained on it, which is the ordinary case, and on a base with random weights, where adapters
part from their base at once and tokens are nearly tied, which is the hard one. The bounds are for both. Ours is `peft-assay certify`
as it is: documents, intake, static probes, sandbox with its start-up attacks, the base's own pass, eight adapters with
loading, effect and suites, verdicts, signatures, ledger. Theirs is `lm_eval --model hf --model_args peft=...`, float32,
batches of 16. Runs are interleaved. CPU seconds are of the whole tree of processes (metering.py says how), because walls
on shared machines say little; walls are printed beside them, and both sides run once more with all the cores that there
are, theirs in threads and ours in workers, where the wall is what counts.

*Including start-up* is the whole of it. *Excluding start-up* is the slope: a run with all items less a run with one item
of each kind, scaled to all items, on both sides. How far adapters agree with their base is printed, and how often a base
is unsure of its next token. All are built first, once; training takes minutes, on an idle machine.

With `--part fleet` only the memory of 200 small adapters is measured, and what a new policy costs. Ends with one line
per bound: name, value, bound, holds or falls short; exits 0 either way. docs/performance.md has the figures of one run.
"""

import argparse
import json
import os
import platform
import sys
from pathlib import Path

import chart
import fleet
import testbed
from contest import Bench, environment, interleave, one_worker
from findings import compare, identity, linear
from metering import how, metered

SEEN = Path(__file__).parents[1] / ".bench" / "behaviour"


def main() -> None:
    """Runs, reports, exits 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small base, 2 adapters, 4 items, 10 in the fleet")
    parser.add_argument("--items", type=int, default=16, help="of each kind (default: 16)")
    parser.add_argument("--plot", type=Path, help="where to write the plot (default: in .bench)")
    parser.add_argument("--peers", type=int, help="for how many trained adapters lm_eval is run (default: for each)")
    parser.add_argument(
        "--part", choices=["contest", "fleet"], help="only the comparison, or only 200 adapters' memory"
    )
    parser.add_argument("--fleet", type=int, help="how many adapters that is (default: 200)")
    parser.add_argument("--at-once", type=int, default=1, help="runs of the comparison at the same time (default: 1)")
    options = parser.parse_args()
    adapters, items = (2, 4) if options.quick else (8, options.items)
    folder = SEEN / ("quick" if options.quick else "full")
    told = f"{platform.machine()}, {os.cpu_count()} CPUs ({_processor()}), Linux {platform.release()}"
    print(f"machine: {told}, Python {platform.python_version()}, one thread; CPU time {how()}")
    lines: list[str] = []
    if options.part != "fleet":
        testbed.build(folder, testbed.QUICK if options.quick else testbed.FULL, adapters)
        bench = Bench(folder, adapters, items)
        lines += contest(bench, options.at_once, options.peers or adapters, options.plot or folder / "linear.svg")
    if options.part != "contest":
        many = options.fleet or (10 if options.quick else 200)
        lines += fleet.measure(folder / "fleet", many, environment(folder), one_worker)
    print("\n".join(lines))


def contest(bench: Bench, at_once: int, peers: int, plot: Path) -> list[str]:
    """The comparison, the straight lines and the answers; writes the plot."""
    folder = bench.folder
    numbers = [str(number) for number in (bench.items, min(2, bench.adapters), min(4, bench.items))]
    command = [sys.executable, str(Path(__file__).with_name("reference.py")), str(folder), *numbers]
    reference = json.loads(metered(command, environment(folder), folder).output)
    peaks = ", ".join(f"{name} {value / 1e9:.0f} GFLOP/s" for name, value in reference["peak"].items())
    told = f"{bench.adapters} LoRA of rank 16; {bench.items} items of each kind"
    print(f"bases: {reference['parameters'] / 1e6:.1f} M parameters; for each {told}; {at_once} runs at a time")
    print(f"peak of one thread: {peaks}; least work for one model: {reference['work'] / 1e9:.0f} GFLOP", flush=True)
    interleave(bench, at_once, min(peers, bench.adapters))
    panels, straight = linear(bench)
    plot.parent.mkdir(parents=True, exist_ok=True)
    plot.write_text(chart.draw(panels))
    both = [[*compare(bench, base, reference), *identity(bench, base, reference)] for base in testbed.BASES]
    return [*both[0], *both[1], *straight]


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
