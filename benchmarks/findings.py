"""What the runs show: ratios, shares of the machine's limit, passes, straight lines, the same answers."""

from collections.abc import Iterator
from typing import Any

import chart
import testbed
from contest import ALL_CORES, ROUNDS, Bench, Side, shares
from reference import UNSURE

FP32_WITH_START, FP32_WITHOUT_START, BF16_WITH_START = 5.0, 2.0, 8.0
DTYPE_BOUNDS = (("float32", "fp32", FP32_WITH_START), ("bfloat16", "bf16", BF16_WITH_START))
LIKELIHOOD_NOISE = 1e-4
LINEAR = 0.99
"""Least R squared of a straight line."""


def verdict(name: str, value: float, unit: str, bound: float, *, least: bool) -> str:
    """One line of the report."""
    holds = value >= bound if least else value <= bound
    return f"{name} {value:.3g}{unit} {bound:g}{unit} {'holds' if holds else 'falls short'}"


def compare(bench: Bench, base: str, reference: dict[str, Any]) -> Iterator[str]:
    """Ratios, passes, agreement, and share of the machine's limit, on one of the bases."""
    each = bench.sides[f"lm_eval, {base}"].spent
    theirs = bench.adapters * sum(run.cpu for run in each) / len(each)
    walls = bench.adapters * sum(run.wall for run in each) / len(each)
    if len(each) < bench.adapters:
        told = "of the rest the mean is taken: they do the same work"
        yield f"lm_eval_runs/{base} {len(each)} {bench.adapters} reported ({told})"
    for dtype, short, bound in DTYPE_BOUNDS:
        ours = bench.sides[f"certify, {dtype}, {base}"]
        yield verdict(f"{short}_with_start/{base}", theirs / ours.cpu, "x", bound, least=True)
        yield f"{short}_wall_with_start/{base} {walls / ours.wall:.3g}x - reported"
        yield f"{short}_agreement_of_adapters/{base} {agreement(ours)} - reported"
    if base == testbed.TRAINED:
        yield from _all_cores(bench, base)
    yield from _without_start(bench, base, theirs, reference)
    jobs = bench.sides[f"certify, float32, {base}"].said[-1]["jobs"]
    passes = (len(jobs), sum(job["base"] for job in jobs))
    holds = "holds" if passes == (bench.adapters + 1, 1) else "falls short"
    yield f"passes_for_{bench.adapters}_adapters_and_base/{base} {len(jobs)} {bench.adapters + 1} {holds}"
    yield f"base_tokens_within_{UNSURE:g}_of_the_next_best/{base} {reference['unsure'][base]:.3f} - reported"


def _all_cores(bench: Bench, base: str) -> Iterator[str]:
    """Walls where both sides are run as they are and take the cores that there are: theirs by threads, ours by workers."""
    theirs = bench.adapters * bench.sides[f"lm_eval{ALL_CORES}, {base}"].wall
    for dtype, short, bound in DTYPE_BOUNDS:
        ours = bench.sides[f"certify, {dtype}{ALL_CORES}, {base}"].wall
        told = f"{theirs:.0f} s, {bench.adapters} times one run's, against {ours:.0f} s"
        name = f"{short}_wall_with_start_on_all_cores/{base}"
        yield f"{verdict(name, theirs / ours, 'x', bound, least=True)} ({told})"


def _without_start(bench: Bench, base: str, theirs: float, reference: dict[str, Any]) -> Iterator[str]:
    """Of float32 alone: what half precision asks again, it asks with one item of each kind already."""
    slope = bench.items / (bench.items - 1)
    theirs_alone = (theirs - bench.adapters * bench.sides[f"lm_eval, one item each, {base}"].cpu) * slope
    ours = [bench.sides[f"certify, float32{items}, {base}"].cpu for items in ("", ", one item each")]
    alone = (ours[0] - ours[1]) * slope
    yield verdict(f"fp32_without_start/{base}", theirs_alone / alone, "x", FP32_WITHOUT_START, least=True)
    if base == testbed.RANDOM:  # the other's answers are more checked than generated: a limit of another kind
        pass_seconds = reference["work"] / reference["peak"]["float32"]
        due, passes = (bench.adapters + 1) * pass_seconds, bench.adapters + 1
        yield f"fp32_share_of_flop_bound/{base} {due / alone:.2f} - reported ({due:.1f} of {alone:.1f} CPU-s, {passes} passes)"
        yield f"lm_eval_share_of_flop_bound/{base} {bench.adapters * pass_seconds / theirs_alone:.2f} - reported"


def agreement(side: Side) -> str:
    """How far the adapters of a run agree with their base: over the tokens of its answers, and over whole answers."""
    counted = [_agreed(job) for job in side.said[-1]["jobs"] if not job["base"]]
    agreed, tokens, same, texts = (sum(counts) for counts in zip(*counted, strict=True))
    each = " ".join(f"{one[0] / one[1]:.2f}" for one in counted)
    return f"{agreed / tokens:.3f} of the base's tokens (by adapter {each}), {same} of {texts} whole texts agree"


def _agreed(job: dict[str, Any]) -> tuple[int, int, int, int]:
    """Tokens that agree, of how many, whole texts that do, of how many."""
    agreed = tokens = same = texts = 0
    for turn in job["asked"]:
        request, reply = turn["request"], turn["reply"]
        if request["op"] != "generate" or "drafts" not in request or request.get("precise"):
            continue
        for draft, trace, own in zip(request["drafts"], reply["traces"], reply["tokens"], strict=True):
            agreed += sum(a == b for a, b in zip(draft["tokens"], trace["best"], strict=True))
            tokens += len(draft["tokens"])
            same += own == draft["tokens"]
            texts += 1
    return agreed, tokens, same, texts


def identity(bench: Bench, base: str, reference: dict[str, Any]) -> Iterator[str]:
    """The same answers as lm-eval gave, and as plain PEFT gives one item at a time, on one of the bases."""
    jobs = bench.sides[f"certify, float32, {base}"].said[-1]["jobs"]
    items = testbed.items_of(bench.folder, bench.items)
    told = [answers_of(job, items) for job in jobs if not job["base"]]
    ours = {f"a{number}": answers for number, answers in enumerate(told)}
    theirs = {said["adapter"]: said for said in bench.sides[f"lm_eval, {base}"].said}
    for name, peer in (("lm_eval", theirs), ("plain_peft", reference["answers"][base])):
        choices = texts = total = 0
        worst = 0.0
        for adapter, said in peer.items():
            for item, scores in said["choices"].items():
                mine = ours[adapter]["choices"][item]
                worst = max(worst, *(abs(a - b) for a, b in zip(mine, scores, strict=True)))
                choices += mine.index(max(mine)) == scores.index(max(scores))
                total += 1
            texts += sum(ours[adapter]["texts"][item].strip() == text.strip() for item, text in said["texts"].items())
        yield f"same_choices_as_{name}/{base} {choices}/{total} {total} {'holds' if choices == total else 'falls short'}"
        yield f"same_texts_as_{name}/{base} {texts}/{total} {total} {'holds' if texts == total else 'falls short'}"
        yield verdict(f"log_likelihoods_off_{name}/{base}", worst, "", LIKELIHOOD_NOISE, least=False)


def answers_of(job: dict[str, Any], items: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What one job answered, by item: questions carry prompts, items their ids."""
    by_prompt = {item["prompt"]: item["id"] for cases in items.values() for item in cases}
    told: dict[str, Any] = {"choices": {}, "texts": {}}
    for turn in job["asked"]:
        request, reply = turn["request"], turn["reply"]
        if request["op"] == "choices":
            for item, scores in zip(request["items"], reply["logLikelihoods"], strict=True):
                told["choices"][by_prompt[item["prompt"]]] = scores
        wanted = request["op"] == "generate" and request["maxNewTokens"] == testbed.NEW_TOKENS
        if wanted and not request.get("precise"):  # the suite's, no probe's own
            for prompt, text in zip(request["prompts"], reply["texts"], strict=True):
                told["texts"][by_prompt[prompt]] = text
    return told


def linear(bench: Bench) -> tuple[list[chart.Panel], list[str]]:
    """CPU seconds over adapters (within one run) and over items (runs of their own, two adapters).

    On the random base, where every adapter and every item is as much work as the next: on the trained one it depends on
    how far an adapter agrees.
    """
    base = testbed.RANDOM
    jobs = bench.sides[f"certify, float32, {base}"].said[-1]["jobs"]
    adapters = [(float(number), job["cpu"]) for number, job in enumerate(jobs)]
    counts = shares(bench.items)
    for _ in range(ROUNDS):
        for count in counts:
            bench.certify(f"certify, 2 adapters, {count} items each", base, items=count, adapters=2)
    items = [(float(count), bench.sides[f"certify, 2 adapters, {count} items each, {base}"].cpu) for count in counts]
    panels, lines = [], []
    for name, across, points in (
        ("adapters", f"adapters certified ({bench.items} items of each kind)", adapters),
        ("items", "items of each kind (2 adapters)", items),
    ):
        slope, intercept, share = chart.fit(points)
        title = f"CPU-seconds over {name}: {intercept:.1f} + {slope:.2f} each"
        panels.append(chart.Panel(title, across, "CPU-seconds", points, slope, intercept))
        lines.append(verdict(f"linear_in_{name}_r_squared/{base}", share, "", LINEAR, least=True))
    return panels, lines
