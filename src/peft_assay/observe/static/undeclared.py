"""weights.undeclared: tensor names that the configuration does not account for, but for what is the base's own."""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.beside import Comparison
from peft_assay.observe.static.declared import declared_by
from peft_assay.observe.static.reading import read_configuration, read_weights


class UndeclaredProbe:
    """weights.undeclared, in file order."""

    id = "undeclared"
    version = "3"
    terms = ("weights.undeclared",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when header or configuration have not one reading."""
        tensors, configuration = read_weights(subject).tensors, read_configuration(subject)
        judge, beside = declared_by(configuration), Comparison(subject, configuration)
        names = (tensor.name for tensor in tensors if tensor.name in beside.strange)
        found = tuple(name for name in names if not judge(name) and not beside.accounts_for(name))
        altered = {one.name: one for one in beside.found if one.altered}
        reasons = [f"{name}: {altered[name].altered} rows are not the base's" for name in found[:3] if name in altered]
        yield ok(self.terms[0], found, by=ObservedBy.INTAKE, reason="; ".join(reasons) or None)
