"""Waivers: an approver's signed decision to accept what one rule denies, for one adapter and deployment, for a while.

A waiver accepts exactly what was seen. It is bound to the rule as it is written, to the values that the rule saw, to
the artifact and to the circumstances of the deployment, and says nothing once any of them is another. What was not
seen cannot be accepted: a rule that is INDETERMINATE needs evidence, not a signature.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from peft_assay.core.canonical import typed_digest
from peft_assay.core.digest import Digest
from peft_assay.core.observation import Value

LONGEST = timedelta(days=366)
"""An exception that nobody looks at for longer than a year is a rule."""


class Protected(StrEnum):
    """Why no waiver reaches a rule that speaks of a term."""

    INTEGRITY = "integrity"
    """That what is loaded is what was examined, and that nothing else changes."""
    TRUST = "trust"
    """Who vouches for it, and whether what was observed is what is served."""
    ISOLATION = "isolation"
    """That its behaviour was seen behind walls, and without their being touched."""
    CONTEXT = "context"
    """What the deployment itself is; who wants another one writes another one."""
    RIGHTS = "rights"
    """What a licence grants: `peft-assay rights clear` has its own reasons and its own end."""


PROTECTED: Mapping[str, Protected] = {
    "weights.canonical": Protected.INTEGRITY,
    "weights.nonfinite": Protected.INTEGRITY,
    "weights.unservable": Protected.INTEGRITY,
    "pickles.fickling": Protected.INTEGRITY,
    "pickles.modelscan": Protected.INTEGRITY,
    "weights.pickle_files": Protected.INTEGRITY,
    "weights.misnamed": Protected.INTEGRITY,
    "weights.undeclared": Protected.INTEGRITY,
    "config.base_rewrites": Protected.INTEGRITY,
    "config.redirects": Protected.INTEGRITY,
    "config.strict": Protected.INTEGRITY,
    "config.unsafe_patterns": Protected.INTEGRITY,
    "plan.converted": Protected.INTEGRITY,
    "weights.missing_head": Protected.INTEGRITY,
    "base.task": Protected.INTEGRITY,
    "reach.altered_rows": Protected.INTEGRITY,
    "tokenizer.differences": Protected.INTEGRITY,
    "plan.unmet": Protected.INTEGRITY,
    "effect.base_unchanged": Protected.INTEGRITY,
    "effect.deterministic": Protected.TRUST,
    "parity.agreement": Protected.TRUST,
    "parity.agreement_lower": Protected.TRUST,
    "parity.n": Protected.TRUST,
    "controls.constant": Protected.CONTEXT,
    "controls.echo": Protected.CONTEXT,
    "controls.elsewhere": Protected.CONTEXT,
    "controls.mute": Protected.CONTEXT,
    "controls.refusal": Protected.CONTEXT,
    "controls.silence": Protected.CONTEXT,
    "sampling.declared": Protected.CONTEXT,
    "stack.locked": Protected.CONTEXT,
    "publisher.identity": Protected.TRUST,
    "publisher.signature": Protected.TRUST,
    "stack.observed_as_served": Protected.TRUST,
    "answers.contradictions": Protected.ISOLATION,
    "replay.agreement": Protected.TRUST,
    "replay.agreement_lower": Protected.TRUST,
    "replay.applies": Protected.TRUST,
    "replay.disagreements": Protected.TRUST,
    "replay.n": Protected.TRUST,
    "sandbox.events": Protected.ISOLATION,
    "sandbox.level": Protected.ISOLATION,
    "context.answer_tokens": Protected.CONTEXT,
    "context.maximum_age_hours": Protected.CONTEXT,
    "context.production": Protected.CONTEXT,
    "context.prompt_tokens": Protected.CONTEXT,
    "tested.answer_tokens": Protected.CONTEXT,
    "tested.prompt_tokens": Protected.CONTEXT,
    "rights.commercial_use": Protected.CONTEXT,
    "rights.grants.commercial": Protected.RIGHTS,
    "rights.grants.derivatives": Protected.RIGHTS,
    "rights.grants.hosted": Protected.RIGHTS,
    "rights.grants.redistribution": Protected.RIGHTS,
}
"""Terms whose rules are never waived, whatever these rules are called."""

WAIVABLE: frozenset[str] = frozenset(
    {
        "artifact.companions", "artifact.unexpected_files", "attempts.count", "bank.highest", "bank.size",
        "bank.unusual",
        "base.claims", "bounds.exceeded", "bounds.max_rank", "canaries.excess", "canaries.exposed",
        "canaries.exposure", "canaries.n", "card.gaps", "claims.checked", "claims.contradicted",
        "config.conditional", "config.unusual", "delta.cast_change", "delta.effective_rank",
        "delta.largest_norm", "delta.relative_norm", "delta.spectral_share", "delta.zero_modules",
        "drift.off_task_agreement", "drift.off_task_kl", "effect.differs_from_base", "leaks.overrepresented",
        "leaks.samples", "leaks.secrets", "match.log_likelihood_change", "prompt.room",
        "reach.full_weights", "reach.head", "reach.new_tokens", "reach.vocabulary",
        "resources.latency_ratio", "resources.length_ratio", "resources.peak_bytes", "resources.unended",
        "rights.base_licence_commercial", "rights.candidates", "rights.cleared", "rights.datasets_commercial",
        "rights.gated", "rights.licence", "rights.licence_commercial", "rights.lineage_conflicts",
        "rights.obligations", "rights.undisclosed", "rights.unknown_nodes", "rights.unpinned",
        "rights.use_restrictions", "sampling.excess",
        "sampling.excess_lower", "sampling.excess_upper", "sampling.foreign", "sampling.lost", "sampling.n",
        "scale.breaks", "scale.lost", "scale.lost_upper", "scale.modules",
        "scan.excess", "scan.proposed", "scan.proposed_triggers", "scan.refusal_breakers", "scan.sequences",
        "scan.ids", "scan.tokens", "scan.triggers", "scan.unscanned",
        "secrets.found", "strength.beyond_declared", "strength.largest",
        "strength.magnitude", "strength.overlaps", "strength.relative", "stack.requirements", "stack.resolves",
        "stack.unmet", "stack.unsupported", "variation.excess", "variation.excess_lower", "variation.excess_upper",
        "tokenizer.added", "variation.lost", "variation.n", "variation.worst", "weights.beside", "withdrawn.crafted",
        "withdrawn.near",
    }
)  # fmt: skip
"""Terms whose rules may be waived, beside those of suites. A term in neither list is not waivable."""


def is_waivable(term: str) -> bool:
    """Whether a rule that speaks of `term` may be waived; a term that nobody has classified may not."""
    return term in WAIVABLE or term.startswith("suite.")


@dataclass(frozen=True, slots=True)
class Waiver:
    """A view of one signed waiver."""

    artifact: Digest
    rule: str
    rule_digest: Digest
    """Over what the rule means: assertion, guard, and the parameters that they read."""
    circumstances: Digest
    """`Lock.circumstances` of the deployment that it is for."""
    saw: Mapping[str, Value]
    """What the rule saw, by name: accepted is this, and nothing near it."""
    by: str
    reason: str
    at: datetime
    expires: datetime
    keyid: str = ""
    envelope: Digest | None = None

    def accepts(self, saw: Mapping[str, Value | None]) -> bool:
        """Whether `saw` is exactly what it accepts: the same names, types and values."""
        return None not in saw.values() and observed_digest(saw) == observed_digest(self.saw)

    def covers(self, artifact: Digest, circumstances: Digest, now: datetime) -> bool:
        """Whether it speaks of this artifact, here and now."""
        same = (self.artifact, self.circumstances) == (artifact, circumstances)
        return same and self.at <= now < self.expires


def observed_digest(saw: Mapping[str, Value | None]) -> Digest:
    """sha256 of values by name; 1, 1.0 and true are three of them."""
    return typed_digest({name: list(value) if isinstance(value, tuple) else value for name, value in saw.items()})
