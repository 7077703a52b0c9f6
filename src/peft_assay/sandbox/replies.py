"""A reply from inside, from bytes to a document that somebody may read: capped, strict, closed, and to the question."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.wire import (
    ChoicesReply,
    ClassifyReply,
    GenerateReply,
    MeasureReply,
    ProposeReply,
    Reply,
    ScoreReply,
    Trace,
    TraceReply,
)

ReadReply = Callable[[Mapping[str, Any], bytes], Mapping[str, Any]]

_REPLY: TypeAdapter[Any] = TypeAdapter(Reply)


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
    found: Mapping[str, Any] = reply.model_dump()
    return found


def _fits(request: Mapping[str, Any], reply: Any) -> bool:
    match reply:
        case MeasureReply():
            return len(reply.lengths) == len(request["prompts"])
        case ChoicesReply():
            return [len(row) for row in reply.logLikelihoods] == [len(item["choices"]) for item in request["items"]]
        case ScoreReply():
            return len(reply.logLikelihoods) == len(reply.counts) == len(request["items"])
        case GenerateReply():
            return _generate_fits(request, reply)
        case TraceReply():
            items = request["items"]
            return len(reply.traces) == len(items) and all(
                _trace_fits(trace, item["continuation"], item.get("watch"), request.get("top", 0))
                for trace, item in zip(reply.traces, items, strict=True)
            )
        case ClassifyReply():
            widths = {len(row) for row in reply.logits}
            return len(reply.logits) == len(request["prompts"]) and len(widths) == 1 and 0 not in widths
        case ProposeReply():
            return len(reply.tokens) <= request["top"] and len(set(reply.tokens)) == len(reply.tokens)
        case _:
            return True


def _generate_fits(request: Mapping[str, Any], reply: GenerateReply) -> bool:
    asked = len(request["prompts"])
    short = all(len(row) <= request["maxNewTokens"] for row in reply.tokens)
    if not (len(reply.texts) == len(reply.tokens) == asked and short):
        return False
    drafts = request.get("drafts")
    if drafts is None:
        return reply.traces is None
    return (
        reply.traces is not None
        and len(reply.traces) == asked
        and all(
            (trace is None) == (draft is None)
            and (trace is None or _trace_fits(trace, draft["tokens"], draft["watch"], 0))
            for trace, draft in zip(reply.traces, drafts, strict=True)
        )
    )


def _trace_fits(trace: Trace, tokens: list[int], watch: list[list[int]] | None, top: int) -> bool:
    lists = (trace.chosen, trace.best, trace.entropy, trace.ids, trace.logProbabilities)
    if any(len(values) != len(tokens) for values in lists):
        return False
    if watch is not None and trace.ids != watch:
        return False
    widths = [len(ids) for ids in trace.ids]
    bounded = watch is not None or max(widths, default=0) <= top
    return bounded and widths == [len(row) for row in trace.logProbabilities]
