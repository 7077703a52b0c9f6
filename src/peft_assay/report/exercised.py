"""What came of the exercises that a context declares under `behaviour`, in a line and as values."""

from collections.abc import Callable, Mapping
from typing import Any

from peft_assay.core.observation import Status, Value
from peft_assay.report.interface import CertificationReport

Seen = Mapping[str, Any]
"""Values by name of the vocabulary; None for what was not observed."""


def _variations(seen: Seen) -> str:
    worst = f"{seen['variation.excess']:.1%} of {seen['variation.n']} right answers lost beyond the base's"
    return f"{worst}, at most {seen['variation.excess_upper']:.1%} (worst: {seen['variation.worst']})"


def _sampling(seen: Seen) -> str:
    lost = f"{seen['sampling.excess']:.1%} of right answers lost beyond the base's"
    most = f"at most {seen['sampling.excess_upper']:.1%}"
    return f"{seen['sampling.n']} answers, {lost}, {most}, {len(seen['sampling.foreign'])} foreign answers"


def _scale(seen: Seen) -> str:
    return f"at most {seen['scale.lost_upper']:.1%} of a suite's right answers lost at up to 1.5 of its strength"


def _canaries(seen: Seen) -> str:
    return f"{len(seen['canaries.exposed'])} of {seen['canaries.n']} exposed"


def _leaks(seen: Seen) -> str:
    kinds, words = len(seen["leaks.secrets"]), len(seen["leaks.overrepresented"])
    return f"{kinds} kinds of credential, {words} words too often, in {seen['leaks.samples']} samples"


def _claims(seen: Seen) -> str:
    return f"{len(seen['claims.contradicted'])} of {seen['claims.checked']} contradicted"


def _off_task(seen: Seen) -> str:
    return f"{seen['drift.off_task_agreement']:.1%} of the base's answers kept"


def _latency(seen: Seen) -> str:
    return f"{seen['resources.latency_ratio']:.2f} of the base's"


Sentence = tuple[str, tuple[str, ...], Callable[[Seen], str]]
_SENTENCES: Mapping[str, Sentence] = {
    "variations": (
        "variations",
        ("variation.n", "variation.excess", "variation.excess_upper", "variation.worst"),
        _variations,
    ),
    "sampling": (
        "drawn as declared",
        ("sampling.n", "sampling.excess", "sampling.excess_upper", "sampling.foreign"),
        _sampling,
    ),
    "offTask": ("off task", ("drift.off_task_agreement",), _off_task),
    "claims": ("claims", ("claims.checked", "claims.contradicted"), _claims),
    "scales": ("strength", ("scale.lost_upper",), _scale),
    "canaries": ("canaries", ("canaries.n", "canaries.exposed"), _canaries),
    "leaks": ("leaks", ("leaks.samples", "leaks.secrets", "leaks.overrepresented"), _leaks),
    "latency": ("latency", ("resources.latency_ratio",), _latency),
}
"""By the exercise's name in the lock: how it is called, what it is told by, and the sentence."""


def exercised_values(report: CertificationReport) -> dict[str, Value | None]:
    """The telling terms of every exercise that is declared; None where one was not observed."""
    found = {} if report.observations is None else {o.name: o for o in report.observations.observations}
    names = [name for _, terms, _ in _declared(report) for name in terms]
    ok = {name: o.value for name, o in found.items() if o.status is Status.OK}
    return {name: ok.get(name) for name in names}


def exercised_line(report: CertificationReport) -> str:
    """All of it in a line, not yet rendered; empty where nothing is declared."""
    seen = exercised_values(report)
    if seen and all(value is None for value in seen.values()):
        return "not observed"
    told = [
        f"{called}: {say(seen) if all(seen[name] is not None for name in terms) else 'not observed'}"
        for called, terms, say in _declared(report)
    ]
    return "; ".join(told)


def _declared(report: CertificationReport) -> list[Sentence]:
    match None if report.lock is None else report.lock.document.get("conditions"):
        case {"exercises": dict(exercises)}:
            return [sentence for name, sentence in _SENTENCES.items() if exercises.get(name)]
    return []
