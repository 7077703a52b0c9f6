"""Waivers on a screen and as documents."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from peft_assay.core.commands import NONE, Options, command
from peft_assay.core.digest import Digest
from peft_assay.core.waiver import Waiver
from peft_assay.report import sink


def waived_line(waiver: Waiver) -> str:
    """A waiver in a line, not yet rendered."""
    return f"{waiver.rule} by {waiver.by} until {sink.plain(waiver.expires)}: {waiver.reason}"


def waiver_document(waiver: Waiver) -> dict[str, Any]:
    """A waiver for programs."""
    return {
        "waiver": waiver.envelope,
        "artifact": waiver.artifact,
        "rule": waiver.rule,
        "ruleDigest": waiver.rule_digest,
        "circumstances": waiver.circumstances,
        "saw": {name: list(value) if isinstance(value, tuple) else value for name, value in waiver.saw.items()},
        "by": waiver.by,
        "reason": waiver.reason,
        "at": waiver.at.isoformat(),
        "expires": waiver.expires.isoformat(),
        "keyid": waiver.keyid,
    }


def signed_text(waiver: Waiver, source: str, options: Options = NONE) -> sink.Rendered:
    """A waiver that was just signed."""
    lines = [
        sink.phrase("waived: {} for {} until {}, by {}", waiver.rule, waiver.artifact, waiver.expires, waiver.by),
        sink.phrase("  waiver {}", waiver.envelope),
        *(sink.phrase("  accepted {} = {}", name, value) for name, value in waiver.saw.items()),
        sink.phrase("it holds for exactly these bytes, values and this rule, in this deployment"),
        sink.phrase("next: {}", command("certify", source, options)),
    ]
    return sink.Rendered("".join(f"{line}\n" for line in lines))


def withdrawn_text(waiver: str, source: str, options: Options = NONE) -> sink.Rendered:
    """A waiver that was just taken back."""
    return sink.phrase(
        "withdrawn: waiver {}\nwhat was certified on it is denied from now on\nnext: {}\n",
        waiver, command("verify", source, options),
    )  # fmt: skip


def listed_text(
    name: str,
    source: str,
    kept: Sequence[Waiver],
    counting: AbstractSet[Digest],
    waivable: Sequence[str],
    protected: Sequence[str],
    options: Options = NONE,
) -> sink.Rendered:
    """What is waived, what could be, and the command that does it."""
    lines = []
    for waiver in kept:
        counts = (
            "counts" if waiver.envelope in counting else "says nothing now (ended, or other rule, values or context)"
        )
        lines.append(sink.phrase("{}: {}", name, waived_line(waiver)))
        lines.append(sink.phrase("  waiver {} {}", waiver.envelope, counts))
    if not kept:
        lines.append(sink.phrase("{}: nothing is waived", name))
    lines += [sink.phrase("{}: fails, and may be waived", rule) for rule in waivable]
    lines += [sink.phrase("{}: fails, and no waiver reaches it", rule) for rule in protected]
    for rule in waivable[:1]:
        said = f"{command('waive', source, options)} --rule {rule} --reason 'WHY IT IS ACCEPTED' --by 'YOUR NAME'"
        lines.append(sink.phrase("next: {}", said))
    return sink.Rendered("".join(f"{line}\n" for line in lines))


def listed_document(
    name: str, artifact: Digest, kept: Sequence[Waiver], counting: AbstractSet[Digest], waivable: Sequence[str]
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "adapter": name,
        "artifact": artifact,
        "waivers": [{**waiver_document(waiver), "counts": waiver.envelope in counting} for waiver in kept],
        "waivable": list(waivable),
    }
