"""A plan on a screen: what a run would ask, and what is certain of its outcome before it runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from peft_assay.report import sink


def plan_text(plan: Mapping[str, Any], command: str) -> sink.Rendered:
    """`plan` as its document has it, then the next step; `command` is the one that would run it."""
    return sink.Rendered("".join(f"{line}\n" for line in _lines(plan, command)))


def _lines(plan: Mapping[str, Any], command: str) -> Iterator[sink.Rendered]:
    template = "with a chat template" if plan["chat_template"] else "no chat template"
    yield sink.phrase("base {}: {} million parameters, {}", plan["base"], plan["parameters"] / 1e6, template)
    yield sink.phrase("engine {}", plan["engine"])
    for suite in plan["suites"]:
        yield sink.phrase(
            "{}: {} cases, {} passes; if all are right, the pass rate is at least {} (95 %)",
            suite["suite"],
            suite["cases"],
            suite["passes"],
            round(suite["best_lower"], 3),
        )
    if plan["scan_tokens"]:
        left = plan["scan_unscanned"]
        yield sink.phrase(
            "trigger scan: {} tokens, {} of them by their ids, {} passes; {}",
            plan["scan_tokens"],
            plan["scan_ids"],
            plan["scan_passes"],
            "which tokens no text reaches cannot be told here"
            if left is None
            else f"{left} more that no text reaches are left out (scan.ids)"
            if left
            else "all that no text reaches are among them",
        )
    else:
        yield sink.phrase("trigger scan: none declared (scan)")
    yield sink.phrase(
        "decoding: {}{}", plan["decoding"], f"; {plan['drawn']} answers are drawn so" if plan["drawn"] else ""
    )
    if plan["power"]:
        yield sink.phrase("  one foreign answer is found with this chance, by its rate: {}", "; ".join(plan["power"]))
    yield sink.phrase("besides: {}", "; ".join(plan["exercises"]) or "nothing declared (behaviour)")
    yield sink.phrase(
        "{} and the base once: about {} CPU-seconds (a rough figure{})",
        sink.counted(plan["adapters"], "adapter"),
        round(plan["seconds"]),
        ", without what is asked besides" if plan["exercises"] else "",
    )
    for label, key in (
        ("remark", "remarks"),
        ("not there", "absent"),
        ("cannot be satisfied", "unsatisfiable"),
        ("cannot be decided", "undecidable"),
    ):
        yield from (sink.phrase("{}: {}", label, what) for what in plan[key])
    yield from (sink.phrase("the gate would refuse: {}", refused["message"]) for refused in plan["refused"])
    yield from (sink.phrase("{} cannot pass: {}", unfit["source"], unfit["message"]) for unfit in plan["unfit"])
    yield sink.phrase("nothing was run: of adapters on this machine the files were looked at")
    yield sink.phrase("next: {}", _next_step(plan, command))


def _next_step(plan: Mapping[str, Any], command: str) -> str:
    if plan["absent"]:
        return "name the folder or archive that holds adapter_config.json"
    if plan["refused"]:
        return str(plan["refused"][0]["next_step"]) or command
    if plan["unfit"]:
        return str(plan["unfit"][0]["next_step"]) or command
    if plan["unsatisfiable"] or plan["undecidable"]:
        return f"declare in peft-assay.yaml what is missing, or ask for less in the policy, then: {command} --plan"
    return command
