"""Whether a JSON value has a form that PEFT's annotations give it, down to the last element.

Python takes `false` for 0 and `true` for 1 wherever a number is meant, so a list of layers with `false` in it reads as
another list than the one that a person, or another reader, sees.
"""

from collections.abc import Iterator
from typing import Any

from peft_assay.observe.static.tables import Forms, Shape

_JSON_TYPES = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict", type(None): "null"}
_KEY = 60
"""Most characters of a key that are shown."""


def misfit(value: Any, forms: Forms, at: str, *, either_number: bool = False) -> str | None:
    """Return the first place at which `value` has none of `forms`, with the found and the expected form; None: it fits.

    JSON has one kind of number: 1 is a float's value too. With `either_number` 1.0 is an int's: PEFT divides alphas,
    whatever their annotation.
    """
    deeper = []
    for form in forms:
        if isinstance(form, str):
            if _is(value, form, either_number=either_number):
                return None
        elif form.one is not None:
            if any(type(value) is type(known) and value == known for known in form.one):
                return None
        elif (parts := _parts(value, form, at)) is not None:
            found = next((f for part in parts if (f := misfit(*part, either_number=either_number))), None)
            if found is None:
                return None
            deeper.append(found)
    if deeper:
        return deeper[0]
    return f"{at}: {_JSON_TYPES[type(value)]} where {' or '.join(_told(form) for form in forms)} is meant"


def _is(value: Any, form: str, *, either_number: bool) -> bool:
    found = _JSON_TYPES[type(value)]
    return form in {found, "any"} or (found == "int" and form == "float") or (
        either_number and found == "float" and form == "int"
    )  # fmt: skip


def _parts(value: Any, shape: Shape, at: str) -> Iterator[tuple[Any, Forms, str]] | None:
    """Return each part of `value` with its forms and place; None where `value` is not of this shape at all."""
    if isinstance(value, list):
        if shape.elements is not None:
            forms = shape.elements
            return ((item, forms, f"{at}[{number}]") for number, item in enumerate(value))
        if shape.places is not None and len(shape.places) == len(value):
            places = zip(value, shape.places, strict=True)
            return ((item, forms, f"{at}[{number}]") for number, (item, forms) in enumerate(places))
    if isinstance(value, dict):
        if shape.values is not None:
            forms = shape.values
            return ((item, forms, f"{at}.{key[:_KEY]}") for key, item in value.items())
        if shape.fields is not None and value.keys() <= shape.fields.keys():
            known = shape.fields
            return ((item, known[key], f"{at}.{key}") for key, item in value.items())
    return None


def _told(form: str | Shape) -> str:
    """Return a form in words."""
    if isinstance(form, str):
        return form
    if form.one is not None:
        return " or ".join(repr(known) for known in form.one)
    if form.places is not None:
        return f"list of {len(form.places)}"
    if form.fields is not None:
        return f"dict of {', '.join(form.fields)}"
    return "list" if form.elements is not None else "dict"
