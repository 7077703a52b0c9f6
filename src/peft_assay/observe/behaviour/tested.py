"""What was tested, for the statement and the certificate: on which engine, how much, how long, how decoded.

Behaviour was observed inside this envelope and nowhere else: longer prompts, other decoding, other engines are outside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from peft_assay.core.exercises import Scan
from peft_assay.core.suite import Suite, ask_form, questions_digest
from peft_assay.observe.behaviour.answers import SuiteRecord
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.interface import Plan, Records
from peft_assay.observe.behaviour.lengths import LengthsRecord
from peft_assay.observe.behaviour.observe import Conversation, is_void
from peft_assay.observe.behaviour.probes.sampling import SamplingRecord
from peft_assay.observe.behaviour.probes.suites import SuitesRecord

DECODING = "greedy"
BATCHING = "rows of like length together, at most 4096 tokens a batch; results do not depend on it in float32"
CASTS = "adapter weights as PEFT loads them (float16 and bfloat16 are cast to float32)"


def observed_on(*, engine: str, dtype: str, stack: Mapping[str, str]) -> dict[str, Any]:
    """What the answers were computed by."""
    return {
        "engine": engine,
        "version": stack.get(engine, "unknown"),
        "dtype": dtype,
        "threads": stack.get("threads", "unknown"),
        "casts": CASTS,
        "batching": BATCHING,
        "decoding": DECODING,
    }


def what_was_tested(found: Conversation, plan: Plan, base: Records, on: Mapping[str, Any]) -> dict[str, Any]:
    """The tested envelope of one conversation; no suites where nothing usable was answered."""
    lengths = base.of(LengthsRecord)
    tokens = {} if lengths is None else lengths.prompts
    answered = None if is_void(found) else found.records.of(SuitesRecord)
    suites = [] if answered is None else [suite for suite in plan.suites if suite.id in answered.suites]
    scan = plan.exercises.scan
    return {
        "observedOn": dict(on),
        "suites": {}
        if answered is None
        else {suite.id: _suite(suite, answered.suites[suite.id], tokens.get(suite.id, ())) for suite in suites},
        "decoding": None if answered is None else _decoding(found, plan),
        "scan": None if scan is None or answered is None else _scanned(scan),
    }


def _decoding(found: Conversation, plan: Plan) -> dict[str, Any]:
    """Return the exercised settings of the declared decoding."""
    drawn, exercises = found.records.of(SamplingRecord), plan.exercises
    records = [] if drawn is None else [record for each in drawn.draws.values() for record in each]
    return {
        "declared": DECODING if exercises.sampling is None else str(exercises.sampling),
        "drawn": sum(len(record.answers) for record in records),
        "notExercised": list(exercises.unexercised),
    }


def _suite(suite: Suite, record: SuiteRecord, tokens: Sequence[int]) -> dict[str, Any]:
    asked = {answer.case for answer in record.answers}
    prompts = [_characters(ask_form(case.prompt, suite.system_prompt)) for case in order_of(suite) if case.id in asked]
    return {
        "cases": len(suite.cases),
        "asked": len(record.answers),
        "askedAgainPrecisely": sum(answer.precise for answer in record.answers),
        "heldBack": suite.held_back,
        "stopping": None if suite.stop_after_failures is None else f"after {suite.stop_after_failures} failures",
        "order": questions_digest([suite]),
        "maxNewTokens": suite.max_new_tokens,
        "promptCharacters": _range(prompts),
        "promptTokens": list(tokens),
        "answerTokens": _range([len(answer.tokens) for answer in record.answers]),
    }


def _characters(prompt: str | Sequence[Mapping[str, str]]) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(message["content"]) for message in prompt)


def _range(values: Sequence[int]) -> list[int]:
    """Least and most; of nothing, nothing."""
    return [min(values), max(values)] if values else []


def _scanned(scan: Scan) -> dict[str, Any]:
    """Return the number of inserted tokens, and of tokens that no text reaches and that were not inserted."""
    return {"tokens": len(scan.tokens), "set": scan.digest, "ids": len(scan.ids), "unscanned": scan.unscanned}
