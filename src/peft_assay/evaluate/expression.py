"""The one place that knows the expression language: CEL, through Google's own implementation (cel-expr-python).

Three properties of CEL are dangerous for an admission policy and are closed here or by the caller:

- ``missing > 3 || true`` is true: an error on one side of ``||`` is absorbed. The caller therefore evaluates only when
  every term an expression may refer to has a value. That set is found by matching names in the text, which also counts
  names in comments and strings (it requires too much: safe), and the expression is then compiled in an environment
  that declares *only* those names, so one that the matching overlooked (``suite . x . lower``) does not compile.
- A failed evaluation is a value of type ERROR, not an exception: only a result that is exactly ``True`` holds.
- ``!(x < 0.95)`` is true for NaN: the caller lets no number in that is not finite.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from cel_expr_python import cel

from peft_assay.core.observation import Value
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.vocabulary import Kind, Term
from peft_assay.evaluate.interface import MalformedExpression, Undecidable

CONSTANTS: Mapping[str, int] = {f"ISOLATION_{level.name}": level.value for level in IsolationLevel}
"""Names for the steps of the isolation ladder, so that a policy reads ``sandbox.level >= ISOLATION_NAMESPACE``."""

_TYPES: dict[Kind, Any] = {
    Kind.BOOL: cel.Type.BOOL,
    Kind.INT: cel.Type.INT,
    Kind.DOUBLE: cel.Type.DOUBLE,
    Kind.STRING: cel.Type.STRING,
    Kind.STRINGS: cel.Type.List(cel.Type.STRING),
}
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_PROBLEM = re.compile(r"<input>:(\d+):(\d+): (.+)")


@dataclass(frozen=True, slots=True)
class CelCondition:
    """A compiled CEL expression of type bool."""

    text: str
    terms: tuple[Term, ...]
    fixed: Mapping[str, Value]
    _program: Any

    def holds(self, values: Mapping[str, Value]) -> bool:
        """See `Condition.holds`."""
        bound = {term.name: _native(values[term.name]) for term in self.terms}
        bound.update({name: _native(value) for name, value in self.fixed.items()})
        try:
            result = self._program.eval(data=bound)
        except RuntimeError as error:  # the evaluation budget is reported this way
            raise Undecidable(_one_line(error)) from None
        value = result.value()
        if result.type() != cel.Type.BOOL or not isinstance(value, bool):
            raise Undecidable(_one_line(value))
        return value


def names_in(text: str) -> frozenset[str]:
    """Every dotted name in `text` and every prefix of one, in strings and comments too."""
    found: set[str] = set()
    for match in _NAME.finditer(text):
        parts = match.group().split(".")
        found.update(".".join(parts[: end + 1]) for end in range(len(parts)))
    return frozenset(found)


def compile_condition(text: str, vocabulary: Mapping[str, Term], params: Mapping[str, Value]) -> CelCondition:
    """`text` as a condition over `vocabulary`; `params` are named ``params.NAME``.

    Raises MalformedExpression for an unknown name, a wrong type, a result that is not boolean, or an expression that
    refers to no observation at all.
    """
    names = names_in(text)
    terms = tuple(vocabulary[name] for name in sorted(names & vocabulary.keys()))
    known: dict[str, Value] = {**CONSTANTS, **{f"params.{name}": value for name, value in params.items()}}
    fixed = {name: known[name] for name in sorted(names & known.keys())}
    types = {term.name: _TYPES[term.kind] for term in terms} | {name: _type(value) for name, value in fixed.items()}
    try:
        program = cel.NewEnv(variables=types).compile(text)
    except (RuntimeError, TypeError) as error:
        raise MalformedExpression(_explain(error, vocabulary)) from None
    if program.return_type() != cel.Type.BOOL:
        raise MalformedExpression(f"gives {program.return_type()}, not a boolean")
    if not terms:
        raise MalformedExpression("refers to no observation: it would hold, or not, for any adapter")
    return CelCondition(text, terms, fixed, program)


def _type(value: Value) -> Any:
    kinds = {bool: Kind.BOOL, int: Kind.INT, float: Kind.DOUBLE, str: Kind.STRING, tuple: Kind.STRINGS}
    return _TYPES[kinds[type(value)]]


def _native(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _one_line(problem: object) -> str:
    return " ".join(str(problem).split())[:200]


def _explain(error: Exception, vocabulary: Iterable[str]) -> str:
    problems = [
        f"line {line}, column {column}: {_plain(message)}{_hint(message, vocabulary)}"
        for line, column, message in _PROBLEM.findall(str(error))
    ]
    return "; ".join(problems) if problems else "not text that can be an expression"


def _plain(message: str) -> str:
    """What CEL says, without its word for a name that nobody declared and for a scope that we do not have."""
    return re.sub(r"undeclared reference to ('[^']*') \(in container ''\)", r"there is no name \1", message)


def _hint(message: str, vocabulary: Iterable[str]) -> str:
    unknown = re.match(r"undeclared reference to '([^']*)'", message)
    if unknown:
        near = _nearest(unknown.group(1), vocabulary)
        return f" (nearest: {near})" if near else ""
    if "overload" in message and "double" in message and "int" in message:
        return " (a fraction keeps its decimal point: write 1.0, not 1)"
    return ""


def _nearest(name: str, vocabulary: Iterable[str]) -> str:
    return next(iter(get_close_matches(name, list(vocabulary), n=1, cutoff=0.5)), "")
