"""A reply from inside, from bytes to a document that somebody may read: capped, strict, closed, and to the question."""

from collections.abc import Callable, Iterator, Mapping
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

WHERE = "reply of the sandbox"
FIXED_BYTES = 256 << 10
"""Every reply may be this long, whatever was asked."""
PLAN_BYTES = 4 << 20
"""Names of all tensors of a large adapter."""
NUMBER_BYTES = 32
TOKENS_A_BYTE = 12
"""Tokens per byte of a scored text: the character that normalisation makes longest (U+FDFA) has 3 bytes, then 33."""
TOKEN_BYTES = 1 << 10
"""An id and its text: the longest tokens of known vocabularies have some hundred characters, each at most six bytes."""
MEMBERS = 16
"""No object of the protocol has more."""
SHOWN_CHARACTERS, SHOWN_NAMES = 2000, 1000

ReadReply = Callable[[Mapping[str, Any], bytes], Mapping[str, Any]]

_REPLY: TypeAdapter[Any] = TypeAdapter(Reply)


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
        case "measure":
            return FIXED_BYTES + NUMBER_BYTES * len(request["prompts"])
        case "score":
            return FIXED_BYTES + 2 * NUMBER_BYTES * len(request["items"])
        case "generate":
            drafts = [draft for draft in request.get("drafts") or () if draft is not None]
            prompts, tokens = len(request["prompts"]), int(request["maxNewTokens"])
            texts = (TOKEN_BYTES * tokens + NUMBER_BYTES) * prompts * (1 if request.get("certainBy") is None else 2)
            own = prompts * _longest_trace([0] * tokens, None, top) if (top := request.get("top", 0)) else 0
            shown = sum(_longest_trace(draft["tokens"], draft["watch"], 0) for draft in drafts)
            return FIXED_BYTES + texts + own + shown
        case "trace":
            top = request.get("top", 0)
            traces = (_longest_trace(item["continuation"], item.get("watch"), top) for item in request["items"])
            return FIXED_BYTES + sum(traces)
        case "classify":
            return FIXED_BYTES + FIXED_BYTES * len(request["prompts"])
        case "propose":
            return FIXED_BYTES + TOKEN_BYTES * int(request["top"])
        case _:
            return FIXED_BYTES


def _longest_trace(tokens: list[int], watch: list[list[int]] | None, top: int) -> int:
    watched = top * len(tokens) if watch is None else sum(map(len, watch))
    return NUMBER_BYTES * (5 * (len(tokens) + 1) + 2 * watched)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The object, those in it, and those in its lists: the protocol nests no deeper."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            parts = part if isinstance(part, list) else [part]
            yield from (one for one in parts if isinstance(one, dict))


def _fits(request: Mapping[str, Any], reply: Any) -> bool:
    match reply:
        case MeasureReply():
            return len(reply.lengths) == len(request["prompts"])
        case ChoicesReply():
            return [len(row) for row in reply.logLikelihoods] == [len(item["choices"]) for item in request["items"]]
        case ScoreReply():
            items = request["items"]
            return len(reply.logLikelihoods) == len(reply.counts) == len(items) and all(
                _counted(count, item.get("continuation")) for count, item in zip(reply.counts, items, strict=True)
            )
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


def _counted(count: int, continuation: list[int] | str | None) -> bool:
    """Whether a continuation can be so many tokens."""
    if isinstance(continuation, str):
        return count <= TOKENS_A_BYTE * len(continuation.encode("utf-8", "surrogatepass")) + TOKENS_A_BYTE
    return continuation is None or count == len(continuation)


def _generate_fits(request: Mapping[str, Any], reply: GenerateReply) -> bool:
    asked = len(request["prompts"])
    short = all(len(row) <= request["maxNewTokens"] for row in reply.tokens)
    if not (len(reply.texts) == len(reply.tokens) == asked and short):
        return False
    if any(len(text) > TOKEN_BYTES * len(row) for text, row in zip(reply.texts, reply.tokens, strict=True)):
        return False
    margins = asked if request.get("margins") else None
    if margins != (None if reply.margins is None else len(reply.margins)):
        return False
    if not _certain_fits(request, reply):
        return False
    drafts, top = request.get("drafts"), request.get("top", 0)
    if drafts is None and top:
        return _own_traces_fit(reply, top)
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


def _certain_fits(request: Mapping[str, Any], reply: GenerateReply) -> bool:
    """Whether there is a beginning of each text where that was asked, and nowhere else."""
    if request.get("certainBy") is None or reply.certain is None:
        return request.get("certainBy") is None and reply.certain is None
    return len(reply.certain) == len(reply.texts) and all(map(str.startswith, reply.texts, reply.certain))


def _own_traces_fit(reply: GenerateReply, top: int) -> bool:
    """Whether each answer has its trace: along a greedy answer every token is the likeliest."""
    return (
        reply.traces is not None
        and len(reply.traces) == len(reply.tokens)
        and all(
            trace is not None and trace.best == tokens and _trace_fits(trace, tokens, None, top)
            for trace, tokens in zip(reply.traces, reply.tokens, strict=True)
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


def _shortened(reply: dict[str, Any]) -> Mapping[str, Any]:
    """What a child says of a failed load goes into signed records: names of tensors may be as long as their file."""
    if reply["op"] == "load":
        reply["problem"] = None if reply["problem"] is None else reply["problem"][:SHOWN_CHARACTERS]
        for part, names in reply["plan"].items():
            reply["plan"][part] = _names(names)
        if "conversions" in reply:
            reply["conversions"] = _names(reply["conversions"])
    return reply


def _names(names: list[str]) -> list[str]:
    return [name[:SHOWN_CHARACTERS] for name in names[:SHOWN_NAMES]]


def _refused(why: str) -> DocumentError:
    return DocumentError(why, where=WHERE)
