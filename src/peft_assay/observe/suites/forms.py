"""Which fields a suite of each scorer has: the one table by which headers and cases are checked and documented."""

from collections.abc import Mapping
from dataclasses import dataclass

from peft_assay.core.suite import Measure, ScorerKind


@dataclass(frozen=True, slots=True)
class Form:
    """What belongs to one scorer."""

    measure: Measure
    needs: frozenset[str] = frozenset()
    """Fields of the header's scorer besides `kind`."""
    may: frozenset[str] = frozenset()
    case_needs: frozenset[str] = frozenset()
    case_may: frozenset[str] = frozenset()


def _form(measure: Measure, *, needs: str = "", may: str = "", case: str = "", case_may: str = "") -> Form:
    return Form(measure, *(frozenset(names.split()) for names in (needs, may, case, case_may)))


FORMS: Mapping[ScorerKind, Form] = {
    ScorerKind.EXACT: _form(Measure.GENERATE, may="until verbatim", case="expected"),
    ScorerKind.REGEX: _form(Measure.GENERATE, needs="pattern", may="until", case_may="expected"),
    ScorerKind.CHOICE: _form(Measure.CHOICE, case="choices answer"),
    ScorerKind.JSON_SCHEMA: _form(Measure.GENERATE, needs="schema", case_may="expected"),
    ScorerKind.TOOL_CALL: _form(Measure.GENERATE, case="expected"),
    ScorerKind.REFUSAL: _form(Measure.GENERATE, may="patterns", case_may="expected"),
    ScorerKind.COMPLIANCE: _form(Measure.GENERATE, may="patterns", case_may="expected"),
    ScorerKind.FORBIDDEN: _form(Measure.GENERATE, needs="patterns", case_may="expected"),
    ScorerKind.INJECTION: _form(Measure.GENERATE, case="forbidden", case_may="expected"),
    ScorerKind.PERPLEXITY: _form(Measure.LIKELIHOOD, needs="maximum", case="expected"),
    ScorerKind.LABEL: _form(Measure.CLASSIFY, case="expected"),
    ScorerKind.JUDGE: _form(Measure.GENERATE, needs="judge", case_may="expected"),
}
