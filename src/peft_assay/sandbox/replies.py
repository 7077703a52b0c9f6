"""A reply from inside, from bytes to a document that somebody may read: capped, strict, closed, and to the question."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.wire import ChoicesReply, EffectReply, GenerateReply, LoadReply, Reply, ScoreReply

ReadReply = Callable[[Mapping[str, Any], bytes], Mapping[str, Any]]

_REPLY: TypeAdapter[LoadReply | EffectReply | ChoicesReply | GenerateReply | ScoreReply] = TypeAdapter(Reply)


def read_reply(request: Mapping[str, Any], content: bytes) -> Mapping[str, Any]:
    """The reply as a harness-protocol document; raises DocumentError when it is malformed or answers another question.

    `request` is trusted, `content` is hostile.
    """
    value = parse_json(content, where="reply of the sandbox", max_bytes=len(content))
    try:
        reply = _REPLY.validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise DocumentError(f"{path}: {first['msg']}", where="reply of the sandbox") from None
    if reply.op != request["op"] or not _fits(request, reply):
        raise DocumentError(f"does not answer the {request['op']} request", where="reply of the sandbox")
    return reply.model_dump()


def _fits(request: Mapping[str, Any], reply: Any) -> bool:
    match reply:
        case ChoicesReply():
            return [len(row) for row in reply.logLikelihoods] == [len(item["choices"]) for item in request["items"]]
        case ScoreReply():
            return len(reply.logLikelihoods) == len(request["items"])
        case GenerateReply():
            asked = len(request["prompts"])
            short = all(len(row) <= request["maxNewTokens"] for row in reply.tokens)
            known = all(token >= 0 for row in reply.tokens for token in row)
            return len(reply.texts) == len(reply.tokens) == asked and short and known
        case _:
            return True
