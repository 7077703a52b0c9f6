"""What the runs show: ratios, shares of the machine's limit, passes, straight lines, the same answers."""

from collections.abc import Iterator
from typing import Any

import chart
import testbed
from contest import DTYPES, Bench, Side, shares

FP32_WITH_START, FP32_WITHOUT_START, BF16_WITH_START = 5.0, 2.0, 8.0
LIKELIHOOD_NOISE = 1e-4
LINEAR = 0.99
"""Least R squared of a straight line."""


def verdict(name: str, value: float, unit: str, bound: float, *, least: bool) -> str:
    """One line of the report."""
    holds = value >= bound if least else value <= bound
    return f"{name} {value:.3g}{unit} {bound:g}{unit} {'holds' if holds else 'falls short'}"


def compare(bench: Bench, reference: dict[str, Any]) -> Iterator[str]:
    """Ratios, share of the bound, passes."""
    sides = bench.sides
    each = sides["lm_eval"].spent
    theirs = bench.adapters * sum(run.cpu for run in each) / len(each)
    if len(each) < bench.adapters:
        yield f"lm_eval_runs {len(each)} {bench.adapters} reported (of the rest the mean is taken: they do the same work)"
    slope = bench.items / (bench.items - 1)
    theirs_alone = (theirs - bench.adapters * sides["lm_eval, one item each"].cpu) * slope
    for dtype in DTYPES:
        ours = sides[f"certify, {dtype}"]
        short = {"float32": "fp32", "bfloat16": "bf16"}[dtype]
        with_start = FP32_WITH_START if dtype == "float32" else BF16_WITH_START
        yield verdict(f"{short}_with_start", theirs / ours.cpu, "x", with_start, least=True)
        if dtype == "float32":  # what half precision asks again, it asks with one item of each kind already
            alone = (ours.cpu - sides["certify, float32, one item each"].cpu) * slope
            due = (bench.adapters + 1) * reference["work"] / reference["peak"][dtype]
            yield verdict(f"{short}_without_start", theirs_alone / alone, "x", FP32_WITHOUT_START, least=True)
            yield f"{short}_share_of_flop_bound {due / alone:.2f} - reported ({due:.1f} of {alone:.1f} CPU-s, {bench.adapters + 1} passes)"
        yield f"{short}_agreement_of_adapters {agreement(ours)} - reported"
        near = bench.sides[f"certify, {dtype}, near the base"]
        yield f"{short}_with_start_near_the_base {theirs / near.cpu:.3g}x - reported ({near.cpu:.1f} CPU-s; {agreement(near)})"
        yield f"{short}_wall_with_start {bench.adapters * sum(run.wall for run in each) / len(each) / ours.wall:.3g}x - reported"
    yield f"lm_eval_share_of_flop_bound {bench.adapters * reference['work'] / reference['peak']['float32'] / theirs_alone:.2f} - reported"
    jobs = sides["certify, float32"].said[-1]["jobs"]
    base = sum(job["base"] for job in jobs)
    passes = (
        f"{len(jobs)} {bench.adapters + 1} {'holds' if (len(jobs), base) == (bench.adapters + 1, 1) else 'falls short'}"
    )
    yield f"passes_for_{bench.adapters}_adapters_and_base {passes}"


def agreement(side: Side) -> str:
    """How far the adapters of a run agree with their base: over the tokens of its answers, and over whole answers."""
    agreed = tokens = same = texts = 0
    for job in side.said[-1]["jobs"]:
        for turn in job["asked"]:
            request, reply = turn["request"], turn["reply"]
            if job["base"] or request["op"] != "generate" or "drafts" not in request or request.get("precise"):
                continue
            for draft, trace, own in zip(request["drafts"], reply["traces"], reply["tokens"], strict=True):
                agreed += sum(a == b for a, b in zip(draft["tokens"], trace["best"], strict=True))
                tokens += len(draft["tokens"])
                same += own == draft["tokens"]
                texts += 1
    return f"{agreed / tokens:.3f} of the base's tokens, {same} of {texts} whole texts agree"


def identity(bench: Bench, reference: dict[str, Any]) -> Iterator[str]:
    """The same answers as lm-eval gave, and as plain PEFT gives one item at a time."""
    jobs = bench.sides["certify, float32"].said[-1]["jobs"]
    items = testbed.items_of(bench.folder, bench.items)
    told = [answers_of(job, items) for job in jobs if not job["base"]]
    ours = {f"a{number}": answers for number, answers in enumerate(told)}
    theirs = {said["adapter"]: said for said in bench.sides["lm_eval"].said}
    for name, peer in (("lm_eval", theirs), ("plain_peft", reference["answers"])):
        choices = texts = total = 0
        worst = 0.0
        for adapter, said in peer.items():
            for item, scores in said["choices"].items():
                mine = ours[adapter]["choices"][item]
                worst = max(worst, *(abs(a - b) for a, b in zip(mine, scores, strict=True)))
                choices += mine.index(max(mine)) == scores.index(max(scores))
                total += 1
            texts += sum(ours[adapter]["texts"][item].strip() == text.strip() for item, text in said["texts"].items())
        yield f"same_choices_as_{name} {choices}/{total} {total} {'holds' if choices == total else 'falls short'}"
        yield f"same_texts_as_{name} {texts}/{total} {total} {'holds' if texts == total else 'falls short'}"
        yield verdict(f"log_likelihoods_off_{name}", worst, "", LIKELIHOOD_NOISE, least=False)


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
    """CPU seconds over adapters (within one run) and over items (runs of their own, two adapters)."""
    jobs = bench.sides["certify, float32"].said[-1]["jobs"]
    adapters = [(float(number), job["cpu"]) for number, job in enumerate(jobs)]
    counts = shares(bench.items)
    for count in counts:
        bench.certify(f"certify, 2 adapters, {count} items each", items=count, adapters=2)
    items = [(float(count), bench.sides[f"certify, 2 adapters, {count} items each"].cpu) for count in counts]
    panels, lines = [], []
    for name, across, points in (
        ("adapters", f"adapters certified ({bench.items} items of each kind)", adapters),
        ("items", "items of each kind (2 adapters)", items),
    ):
        slope, intercept, share = chart.fit(points)
        title = f"CPU-seconds over {name}: {intercept:.1f} + {slope:.2f} each"
        panels.append(chart.Panel(title, across, "CPU-seconds", points, slope, intercept))
        lines.append(verdict(f"linear_in_{name}_r_squared", share, "", LINEAR, least=True))
    return panels, lines
