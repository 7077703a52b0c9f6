"""`policy explain`: the stored observations of an adapter under the policy as it is now, rule by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peft_assay.core.observation import Value
from peft_assay.evaluate.explanation import RuleExplanation, explain
from peft_assay.pipeline.certify import Certification
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.reporting import recorded
from peft_assay.pipeline.sources import Located


@dataclass(frozen=True, slots=True)
class Explained:
    """One adapter's newest judgement and the explanation of each rule, in policy order."""

    judged: Certification
    rules: tuple[RuleExplanation, ...]
    evidence: Mapping[str, tuple[str, str | None, str | None]]
    """Observation -> who observed it, the digest of the stored evidence it was drawn from, and what was said of it."""
    parameters: Mapping[str, Value]


def explain_recorded(deployment: Deployment, sources: Sequence[Located]) -> list[Explained]:
    """Explanations of the newest judgement of each of `sources`; of everything ever judged when none is named."""
    return [_explained(deployment, done) for done in recorded(deployment, sources)]


def _explained(deployment: Deployment, done: Certification) -> Explained:
    policy = deployment.project.policy
    if done.verdict is None or done.record is None:
        raise AssertionError("what is recorded was judged")
    observations = done.record.observations
    rules = explain(policy, observations, done.verdict)
    evidence = {item.name: (item.observed_by.value, item.evidence, item.reason) for item in observations.observations}
    return Explained(done, rules, evidence, policy.parameters)
