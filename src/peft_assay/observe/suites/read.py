"""A suite from its two files. One that cannot fail, or that no answer can pass, is refused here already."""

from dataclasses import replace

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, hex_of, sha256
from peft_assay.core.suite import ScorerKind, Suite
from peft_assay.observe.suites.cases import read_cases
from peft_assay.observe.suites.certain import refuse_certain
from peft_assay.observe.suites.document import read_document
from peft_assay.observe.suites.rotation import held_back


def suite_digest(document: Digest, cases: Digest) -> Digest:
    """The digest of a suite, over those of its two files."""
    return canonical_digest({"suite": hex_of(document), "cases": hex_of(cases)})


def read_suite(document_bytes: bytes, cases_bytes: bytes, *, where: str) -> Suite:
    """The suite that both files describe; `where` names suite.yaml. Raises DocumentError naming line and field."""
    document = read_document(document_bytes, where=where)
    kind = ScorerKind(document.scorer.kind)
    cases = read_cases(cases_bytes, kind, where=f"{where}: {document.cases}")
    hold = document.holdBack
    kept_back = frozenset[str]() if hold is None else held_back(cases, hold.share, hold.period)
    suite = Suite(
        id=document.id,
        version=document.version,
        digest=suite_digest(sha256(document_bytes), sha256(cases_bytes)),
        measure=document.measured,
        scorer=document.scorer.value(),
        cases=cases,
        max_new_tokens=document.maxNewTokens,
        stop_after_failures=document.stopAfterFailures,
        confidentiality=document.confidentiality,
        source=document.source,
        period=document.period,
        held_back_in=None if hold is None else hold.period,
    )
    refuse_certain(suite, where=where, cases_where=f"{where}: {document.cases}")
    return _in_use(suite, kept_back)


def _in_use(suite: Suite, kept_back: frozenset[str]) -> Suite:
    cases = tuple(case for case in suite.cases if case.id not in kept_back)
    return replace(suite, cases=cases, held_back=len(kept_back))
