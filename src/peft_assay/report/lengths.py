"""The lengths of prompts and answers: the tested ones, and those that the context declares."""

from peft_assay.core.context import Lengths
from peft_assay.core.observation import Value
from peft_assay.report.interface import CertificationReport

TESTED = ("tested.prompt_tokens", "tested.answer_tokens")


def tested_lengths(report: CertificationReport) -> dict[str, Value | None]:
    """Return the longest tested prompt and answer, by term; None where that was not observed."""
    seen = {} if report.observations is None else {o.name: o.value for o in report.observations.observations}
    return {name: seen.get(name) for name in TESTED}


def served_lengths(report: CertificationReport) -> Lengths | None:
    """Return the lengths up to which the adapter may be served; None where nothing was observed."""
    seen = tested_lengths(report)
    return None if report.lock is None or None in seen.values() else report.lock.lengths(seen.get)


def lengths_line(report: CertificationReport) -> str:
    """Return the lengths as one line of text, not yet rendered; empty where nothing was observed."""
    served, (prompt, answer) = served_lengths(report), tested_lengths(report).values()
    if served is None:
        return ""
    return f"prompts of up to {prompt} tokens and answers of up to {answer} were tested; {served_line(served)}"


def served_line(served: Lengths) -> str:
    """Return the reaction of a governed model to longer prompts and answers, as a line."""
    does = "refuses" if served.beyond == "refuse" else "warns of"
    return f"a governed model {does} prompts over {served.prompt} and answers over {served.answer}"
