"""withdrawn.*: is the adapter's function near that of a withdrawn one? An equal function is held without any rule."""

from collections.abc import Iterable

from peft_assay.core.certificate import Revocation
from peft_assay.core.observation import Observation, ObservedBy, Status, failed, ok
from peft_assay.fingerprint.interface import Uncomputable, Word
from peft_assay.observe.interface import StaticSubject
from peft_assay.trust.recognition import resemblances

_TERMS = {"withdrawn.crafted": Word.CRAFTED, "withdrawn.near": Word.NEAR}


class WithdrawnProbe:
    """withdrawn.near and withdrawn.crafted, by the fingerprints that the revocation list carries."""

    id = "withdrawn"
    version = "1"
    terms = tuple(_TERMS)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Return the terms: not applicable without a revocation list; failed where the comparison was impossible."""
        withdrawn = subject.context.withdrawn
        if withdrawn is None:
            reason = "no revocation list is at hand"
            return [Observation(term, Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason) for term in _TERMS]
        try:
            found = () if withdrawn.list is None else resemblances(withdrawn.list, withdrawn.files)
        except Uncomputable as unknown:
            reason = f"its function cannot be computed: {unknown}"
            return [failed(term, reason, by=ObservedBy.INTAKE) for term in _TERMS]
        named = {term: {_name(entry) for entry, said in found if said is word} for term, word in _TERMS.items()}
        return [ok(term, tuple(sorted(names)), by=ObservedBy.INTAKE) for term, names in named.items()]


def _name(entry: Revocation) -> str:
    return f"{entry.scope.value} {entry.target}"
