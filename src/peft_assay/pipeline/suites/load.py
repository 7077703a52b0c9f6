"""The suites that peft-assay.yaml names, each with what it needs from elsewhere: labels, owner, system prompt."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.suite import ScorerKind, Suite
from peft_assay.observe.suites.document import SuiteDocument, read_document
from peft_assay.observe.suites.read import read_suite
from peft_assay.pipeline.base import CHAT_TEMPLATE, has_chat_template
from peft_assay.pipeline.documents import AssayDocument, OwnedSuite, read_file
from peft_assay.trust.keys import PublicKey, read_public_key
from peft_assay.trust.suites import SIGNATURE_FILE, open_suite_signature


@dataclass(frozen=True, slots=True)
class SuiteFiles:
    """A suite's two files, each read once: what is verified is what is read."""

    path: Path
    header: bytes
    cases: bytes
    document: SuiteDocument

    def suite(self) -> Suite:
        """What they describe; raises DocumentError."""
        return read_suite(self.header, self.cases, where=str(self.path))


def load_suites(document: AssayDocument, path: Path, base: Path, system_prompt: str | None) -> tuple[Suite, ...]:
    """Every suite of the project at `path`, sorted by id; raises DocumentError or TrustError naming file and field."""
    suites: dict[str, Suite] = {}
    for number, entry in enumerate(document.suites):
        named = entry.path if isinstance(entry, OwnedSuite) else entry
        field = f"{path}: suites.{number}"
        files = read_files(path.parent / named, named_by=field)
        suite = files.suite()
        if isinstance(entry, OwnedSuite):
            key = _owner_key(document, path, entry.owner, field)
            check_owner(files, key, entry.owner)
            suite = replace(suite, owner=key.keyid)
        if suite.id in suites:
            raise DocumentError(f"two suites have the id {suite.id}", where=field)
        suites[suite.id] = completed(suite, files.path, base, system_prompt)
    return tuple(suites[name] for name in sorted(suites))


def read_files(file: Path, *, named_by: str | None = None) -> SuiteFiles:
    """The two files of the suite whose suite.yaml is `file`. Raises DocumentError, UsageError, StorageError."""
    header = read_file(file, named_by=named_by)
    document = read_document(header, where=str(file))
    return SuiteFiles(file, header, read_file(cases_file(file, document), named_by=f"{file}: cases"), document)


def cases_file(file: Path, document: SuiteDocument) -> Path:
    """Where the cases are: in the suite's own folder, and no link out of it."""
    if document.cases in {"", ".", ".."} or Path(document.cases).name != document.cases:
        raise DocumentError("cases names a file in the suite's own folder", where=f"{file}: cases")
    cases = file.parent / document.cases
    if cases.is_symlink() and cases.resolve().parent != file.parent.resolve():
        raise DocumentError("cases is a link out of the suite's own folder", where=f"{file}: cases")
    return cases


def _owner_key(document: AssayDocument, path: Path, owner: str, field: str) -> PublicKey:
    """The key of the `owner` that a suite is asked to be signed by."""
    file = document.owners.get(owner)
    if file is None:
        raise DocumentError(
            f"there is no owner {owner!r}", where=f"{field}.owner", next_step=f"name {owner}'s public key under owners"
        )
    where = f"{path}: owners.{owner}"
    return read_public_key(read_file(path.parent / file, named_by=where), where=where)


def check_owner(files: SuiteFiles, key: PublicKey, owner: str) -> None:
    """Raises TrustError unless exactly these two files are signed by `key`."""
    signature = files.path.parent / SIGNATURE_FILE
    envelope = read_file(signature) if signature.is_file() else None
    document, cases = sha256(files.header), sha256(files.cases)
    open_suite_signature(envelope, key, document=document, cases=cases, owner=owner, where=str(signature))


def completed(suite: Suite, file: Path, base: Path, system_prompt: str | None) -> Suite:
    """`suite` with the labels that the base's configuration has, and with the context's system prompt."""
    if any(not isinstance(case.prompt, str) for case in suite.cases):
        _check_template(base, file)
    if suite.scorer.kind is not ScorerKind.LABEL:
        return replace(suite, system_prompt=system_prompt)
    labels = base_labels(base, where=f"{file}: scorer")
    for case in suite.cases:
        if case.expected not in labels:
            raise DocumentError(
                f"case {case.id!r} expects a label that the base has not; it has {', '.join(labels)[:200]}",
                where=f"{file}: cases",
            )
    return replace(suite, scorer=replace(suite.scorer, labels=labels), system_prompt=system_prompt)


def _check_template(base: Path, file: Path) -> None:
    """Conversations are rendered by the base's own template; without one there is no right way to write them."""
    if has_chat_template(base):
        return
    raise DocumentError(
        "has cases with messages, and the base has no chat template",
        where=str(file),
        next_step=f"put the {CHAT_TEMPLATE} that you serve with into the base's folder, or write prompts",
    )


DEFAULT_LABELS = 2
"""Labels of a classifier whose config.json says nothing of them: transformers' own default."""


def base_labels(base: Path, *, where: str) -> tuple[str, ...]:
    """Names of the base's labels in the order of its logits (``id2label`` of its config.json); raises DocumentError."""
    config = _json(base / "config.json")
    table = config.get("id2label")
    if table is None and _classifies(config):  # transformers leaves out what it makes by itself
        count = config.get("num_labels", DEFAULT_LABELS)
        table = {str(number): f"LABEL_{number}" for number in range(count if isinstance(count, int) else 0)}
    wrong = DocumentError(
        f"scorer label needs a base that classifies: {base / 'config.json'} has no id2label", where=where
    )
    if not isinstance(table, dict) or len(table) < 2:
        raise wrong
    labels = tuple(str(table.get(str(number))) for number in range(len(table)))
    if set(table) != {str(number) for number in range(len(table))} or len(set(labels)) != len(labels):
        raise wrong
    return labels


def _classifies(config: Mapping[str, object]) -> bool:
    named = config.get("architectures")
    return isinstance(named, list) and any(str(one).endswith("ForSequenceClassification") for one in named)


def _json(path: Path) -> dict[str, object]:
    """A configuration of the consumer's own base; empty where there is none."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
