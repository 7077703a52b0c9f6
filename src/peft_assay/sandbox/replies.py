"""A reply from inside, from bytes to a document that somebody may read: capped, strict, closed, and to the question."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.wire import ChoicesReply, EffectReply, GenerateReply, LoadReply, Reply, ScoreReply

WHERE = "reply of the sandbox"
FIXED_BYTES = 256 << 10
"""Every reply may be this long, whatever was asked."""
PLAN_BYTES = 4 << 20
"""Names of all tensors of a large adapter."""
NUMBER_BYTES = 32
TOKEN_BYTES = 1 << 10
"""An id and its text: the longest tokens of known vocabularies have some hundred characters, each at most six bytes."""
MEMBERS = 16
"""No object of the protocol has more."""
VOCABULARY = 1 << 31
LARGEST_LOG_LIKELIHOOD = 1.0
"""A logarithm of a probability is at most 0; the rest is for rounding."""
SHOWN_CHARACTERS, SHOWN_NAMES = 2000, 1000

ReadReply = Callable[[Mapping[str, Any], bytes], Mapping[str, Any]]

_REPLY: TypeAdapter[LoadReply | EffectReply | ChoicesReply | GenerateReply | ScoreReply] = TypeAdapter(Reply)


def read_reply(request: Mapping[str, Any], content: bytes) -> Mapping[str, Any]:
    """The reply as a harness-protocol document; raises DocumentError when it is malformed or answers another question.

    `request` is trusted, `content` is hostile. What it costs to read is bounded by what was asked: a reply that fills
    the job's whole output would take a hundred times its bytes as objects.
    """
    if len(content) > (longest := longest_reply(request)):
        raise _refused(f"{len(content)} bytes, more than the {longest} that answer the {request['op']} request")
    value = parse_json(content, where=WHERE, max_bytes=len(content))
    if any(len(part) > MEMBERS for part in _objects(value)):
        raise _refused("an object has more members than any of the protocol")
    try:
        reply = _REPLY.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise _refused(f"{path}: {first['msg']}") from None
    if reply.op != request["op"] or not _fits(request, reply):
        raise _refused(f"does not answer the {request['op']} request")
    return _shortened(reply.model_dump())


def longest_reply(request: Mapping[str, Any]) -> int:
    """Bytes that a reply to `request` can honestly have."""
    match request["op"]:
        case "load":
            return PLAN_BYTES
        case "choices":
            return FIXED_BYTES + NUMBER_BYTES * sum(len(item["choices"]) for item in request["items"])
        case "score":
            return FIXED_BYTES + NUMBER_BYTES * len(request["items"])
        case "generate":
            return FIXED_BYTES + TOKEN_BYTES * len(request["prompts"]) * int(request["maxNewTokens"])
        case _:
            return FIXED_BYTES


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The object and those directly in it: the protocol nests no deeper."""
    if isinstance(value, dict):
        yield value
        yield from (part for part in value.values() if isinstance(part, dict))


def _fits(request: Mapping[str, Any], reply: Any) -> bool:
    match reply:
        case ChoicesReply():
            choices = [len(item["choices"]) for item in request["items"]]
            return [len(row) for row in reply.logLikelihoods] == choices and all(map(_likely, reply.logLikelihoods))
        case ScoreReply():
            return _likely(reply.logLikelihoods) and len(reply.logLikelihoods) == len(request["items"])
        case GenerateReply():
            prompts = len(request["prompts"])
            short = all(len(row) <= request["maxNewTokens"] for row in reply.tokens)
            known = all(0 <= token < VOCABULARY for row in reply.tokens for token in row)
            return len(reply.texts) == len(reply.tokens) == prompts and short and known
        case _:
            return True


def _likely(values: Sequence[float]) -> bool:
    return all(value <= LARGEST_LOG_LIKELIHOOD for value in values)


def _shortened(reply: dict[str, Any]) -> Mapping[str, Any]:
    """What a child says of a failed load goes into signed records: names of tensors may be as long as their file."""
    if reply["op"] == "load":
        reply["problem"] = None if reply["problem"] is None else reply["problem"][:SHOWN_CHARACTERS]
        for part, names in reply["plan"].items():
            reply["plan"][part] = [name[:SHOWN_CHARACTERS] for name in names[:SHOWN_NAMES]]
    return reply


def _refused(why: str) -> DocumentError:
    return DocumentError(why, where=WHERE)
