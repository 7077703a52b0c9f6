"""What models answered before, from the workspace, for as long as it is young enough to rest a certificate on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import TrustError
from peft_assay.observe.behaviour.answers import Given
from peft_assay.observe.behaviour.kept import answer_documents, answers_of
from peft_assay.observe.behaviour.memory import Memory
from peft_assay.pipeline.deployment import Deployment
from peft_assay.trust.answers import KeptAnswers, answers_document, open_answers
from peft_assay.trust.roles import Role

DEPENDS_ON = ("base", "tokenizer", "chatTemplate", "generationConfig", "engine", "stack", "harness")
"""Of the observation conditions, what an answer depends on besides its question."""


@dataclass(slots=True)
class Recollection:
    """One model's memory, and since when it reaches back."""

    memory: Memory = field(default_factory=Memory)
    since: datetime | None = None
    """When the oldest answer in it was given; None while it is empty."""


@dataclass(frozen=True, slots=True)
class AnswerBook:
    """The answers that a workspace keeps under one set of conditions."""

    deployment: Deployment
    conditions: Mapping[str, Any]

    @classmethod
    def under(cls, deployment: Deployment, conditions: Mapping[str, Any], level: int) -> "AnswerBook":
        """The book for these observation conditions and this isolation level."""
        return cls(deployment, {"isolation": level, **{name: conditions[name] for name in DEPENDS_ON}})

    def recall(self, subject: Digest, now: datetime) -> Recollection:
        """Return the kept answers of `subject` (an artifact, or the base's state), if younger than half a certificate's
        life.

        Raises TrustError when the kept answers were altered, are another model's, or are signed by a key that is not
        pinned.
        """
        envelope = self.deployment.workspace.answers(subject, canonical_digest(self.conditions))
        if envelope is None:
            return Recollection()
        found = open_answers(envelope, self.deployment.anchor.keys_of(Role.SANDBOX))
        if (found.subject, canonical_digest(found.conditions)) != (subject, canonical_digest(self.conditions)):
            raise TrustError(
                "kept answers are filed under another model or other conditions than they are about",
                where=f"answers {sha256(envelope)}",
                next_step="put the workspace back from a copy, or ask anew: peft-assay certify --fresh SOURCE",
            )
        if now - found.started_at >= self.deployment.maximum_age / 2:
            return Recollection()
        return Recollection(Memory(kept=answers_of(found.answers)), found.started_at)

    def keep(self, subject: Digest, recollection: Recollection, started: datetime, now: datetime) -> None:
        """Signs and keeps what was answered since, with what was known before; nothing to do where nothing is new."""
        fresh: dict[Digest, Given] = recollection.memory.fresh
        if not fresh:
            return
        answers = answer_documents({**recollection.memory.kept, **fresh})
        kept = KeptAnswers(subject, self.conditions, recollection.since or started, answers)
        sealer = self.deployment.sealer(Role.SANDBOX)
        envelope = sealer.seal(answers_document(kept, keyid=sealer.keyid))
        conditions = canonical_digest(self.conditions)
        self.deployment.workspace.keep_answers(envelope, subject=subject, conditions=conditions, at=now)
