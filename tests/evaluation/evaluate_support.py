"""A good set of observations for a context with three suites, and ways to spoil it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from peft_assay.core.digest import sha256
from peft_assay.core.observation import Observation, ObservationSet, ObservedBy, failed, ok, sort_observations
from peft_assay.core.verdict import Verdict
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.interface import CompiledPolicy

SUITES = ("support_task", "lookups", "refusals")
VOCABULARY = vocabulary(SUITES)
LOCK = sha256(b"lock")
ARTIFACT = sha256(b"artifact")


def good_values(suites: tuple[str, ...] = SUITES) -> dict[str, Any]:
    """What an ordinary, declared, well-behaved adapter is observed to be (values of a prompt-tuned one)."""
    values: dict[str, Any] = {
        "artifact.unexpected_files": (),
        "weights.pickle_files": (),
        "weights.canonical": True,
        "weights.nonfinite": 0,
        "weights.undeclared": (),
        "weights.misnamed": (),
        "config.strict": True,
        "config.redirects": (),
        "config.base_rewrites": (),
        "config.conditional": (),
        "bounds.exceeded": (),
        "bounds.max_rank": 8,
        "strength.relative": 2.0,
        "strength.beyond_declared": 1.0,
        "strength.magnitude": 1.0,
        "strength.overlaps": (),
        "reach.full_weights": (),
        "reach.altered_rows": 0,
        "weights.missing_head": (),
        "base.task": (),
        "tokenizer.added": ("<|im_start|>",),
        "tokenizer.differences": (),
        "withdrawn.near": (),
        "withdrawn.crafted": (),
        "stack.unsupported": (),
        "stack.observed_as_served": True,
        "stack.locked": True,
        "stack.unmet": (),
        "rights.licence": "apache-2.0",
        "rights.commercial_use": True,
        "rights.licence_commercial": True,
        "rights.datasets_commercial": True,
        "rights.base_licence_commercial": True,
        "rights.grants.commercial": True,
        "rights.grants.derivatives": True,
        "rights.unknown_nodes": (),
        "rights.lineage_conflicts": (),
        "rights.unpinned": (),
        "context.production": True,
        "context.maximum_age_hours": 720,
        "context.prompt_tokens": 200,
        "context.answer_tokens": 56,
        "tested.prompt_tokens": 200,
        "tested.answer_tokens": 64,
        "prompt.room": 256,
        "plan.unmet": (),
        "plan.converted": (),
        "effect.differs_from_base": True,
        "effect.base_unchanged": True,
        "effect.deterministic": True,
        "sandbox.level": 20,
        "sandbox.events": 0,
        "attempts.count": 1,
        "answers.contradictions": (),
        "replay.applies": True,
        "replay.disagreements": (),
        **{f"controls.{null}": 0.05 for null in ("silence", "constant", "echo", "refusal", "elsewhere")},
        "controls.mute": 0.0,
        "sampling.declared": True,
        "sampling.foreign": (),
        "sampling.excess_upper": 0.1,
        "scan.tokens": 120,
        "scan.unscanned": 0,
        "scan.triggers": (),
        "scan.refusal_breakers": (),
    }
    for suite in suites:
        at = f"suite.{suite}"
        values |= {
            f"{at}.n": 60,
            f"{at}.passes": 52,
            f"{at}.rate": 52 / 60,
            f"{at}.lower": 0.7722600543,
            f"{at}.upper": 0.9316,
            f"{at}.base_rate": 1.0,
            f"{at}.difference": -8 / 60,
            f"{at}.difference_lower": -0.2459222211,
            f"{at}.complete": True,
        }
    return values


def observed(values: Mapping[str, Any], unseen: Mapping[str, str] | None = None) -> ObservationSet:
    """`values` as observations; `unseen` are failed ones with their reason."""
    made: list[Observation] = [ok(name, value, by=ObservedBy.SUPERVISOR) for name, value in values.items()]
    made += [failed(name, reason, by=ObservedBy.SUPERVISOR) for name, reason in (unseen or {}).items()]
    return ObservationSet(ARTIFACT, sha256(b"c"), datetime(2026, 1, 1, tzinfo=UTC), sort_observations(made))


def default_policy(suites: tuple[str, ...] = SUITES) -> CompiledPolicy:
    return load_policy(builtin_policy("default"), "default.yaml", vocabulary(suites))


def policy_of(*rules: str, params: str = "{}", suites: tuple[str, ...] = SUITES) -> CompiledPolicy:
    """A policy of rules written as flow mappings without id; ids are r0, r1, ..."""
    return load_policy(document(*rules, params=params), "p.yaml", vocabulary(suites))


def document(*rules: str, params: str = "{}") -> bytes:
    lines = ["apiVersion: peft-assay/v1", "kind: Policy", "id: p", "description: d", f"params: {params}", "rules:"]
    lines += [f"  - {{id: r{index}, why: because, {rule}}}" for index, rule in enumerate(rules)]
    return "\n".join(lines).encode()


def judge(policy: CompiledPolicy, observations: ObservationSet) -> Verdict:
    return evaluate(policy, observations, LOCK)


def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
