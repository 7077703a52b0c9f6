"""Harness protocol v2: the messages between supervisor and sandboxed child.

Frames are a 4-byte big-endian length and that many bytes of JSON. Replies are hostile: the sandbox room caps their
bytes, parses them strictly and validates them here (closed schemas, numbers that some model could give, lists of
bounded length) before any field is read. Afterwards `sandbox.possible` refuses values that the base at hand cannot
give.

A *prompt* in a request is a text, or a conversation: a list of ``{"role", "content"}``, which is rendered inside by the
base's own chat template. Where such a text holds a number between the noncharacters U+FDD0 and U+FDD1 (`spliced`), the
token of that id is inserted there, even where no text gives it. Log-probabilities are natural logarithms;
token ids are those of the base's tokenizer.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

PROTOCOL = 2
SPLICE = ("\ufdd0", "\ufdd1")
"""Around the number of a token in a prompt. No text that people or tokenizers write has noncharacters."""


def spliced(token: int) -> str:
    """Return the mark that stands in a prompt for the token of that id."""
    return f"{SPLICE[0]}{token}{SPLICE[1]}"


def shown(token: str) -> str:
    """Return a token of a scan in words: text as it is, a spliced token by its id."""
    inside = token.removeprefix(SPLICE[0]).removesuffix(SPLICE[1])
    return f"id {inside}" if inside != token and inside.isdigit() else token


FARTHEST = 1e39
"""Logits and their differences are float32 or narrower: a number farther from 0 than this cannot come from them."""
FARTHEST_SUM = FARTHEST * (1 << 31)
"""The bound of a sum over as many log-probabilities as there can be tokens. Squares and sums of such numbers are still
finite."""
MOST_ENTROPY = 22.0
"""Nats: more than the logarithm of the largest vocabulary that token ids can number."""
MOST_ITEMS = 1 << 20
"""Most items of any list."""
LONGEST_TEXT = 16 << 20
"""Most characters of any text; a job's whole output is no longer."""

Logit = Annotated[float, Field(allow_inf_nan=False, ge=-FARTHEST, le=FARTHEST)]
LogProbability = Annotated[float, Field(allow_inf_nan=False, ge=-FARTHEST, le=1.0)]
"""At most 0; the rest is for rounding."""
LogLikelihood = Annotated[float, Field(allow_inf_nan=False, ge=-FARTHEST_SUM, le=1.0)]
"""A sum of log-probabilities."""
Entropy = Annotated[float, Field(allow_inf_nan=False, ge=-0.1, le=MOST_ENTROPY)]
"""At least 0; the rest is for rounding."""
Lead = Annotated[float, Field(allow_inf_nan=False, ge=0.0, le=FARTHEST)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
Count = Annotated[int, Field(ge=1, lt=1 << 31)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
BaseState = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]


class _FirstError(FailFast):
    """pydantic's own cannot stand in a union, whose members must be hashable."""

    __hash__ = object.__hash__


Item = TypeVar("Item")
Many = Annotated[list[Item], Field(max_length=MOST_ITEMS), _FirstError()]
"""A list that is refused at its first wrong item: an error kept for each of millions would fill the supervisor."""


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Plan(_Reply):
    """Tensor names against what configuration and base require; all empty when they are equal."""

    missing: Many[Text]
    extra: Many[Text]
    mismatched: Many[Text]


class LoadReply(_Reply):
    """Answer to ``{"op": "load"}``. `loaded` is false when the plan is unmet or the configuration does not fit."""

    op: Literal["load"]
    loaded: bool
    plan: Plan
    conversions: Many[Text] = []
    """What PEFT converted so that the file fits this base."""
    problem: Text | None
    """Why it was not loaded, in one line."""


class ApplyReply(_Reply):
    """Answer to ``{"op": "apply", "modules": [...]}``: the adapter on a bare base, by the harness's own arithmetic.

    Each of `modules` is ``{"module": path, "scale": s, "tensors": {name: {"dtype", "shape", "begin", "end"}}}`` as the
    supervisor read them: of its weights file, at which bytes. Nothing of PEFT is called in a child that is asked this.
    """

    op: Literal["apply"]
    applied: Annotated[int, Field(ge=0, lt=1 << 31)]
    problem: Text | None
    """Why this base's modules cannot be computed by this arithmetic, in one line."""


class MeasureReply(_Reply):
    """Answer to ``{"op": "measure", "prompts": [...]}``: what the base cannot take is refused before it is asked.

    Any other operation ends the job where a prompt does not tokenize, or is longer than what fits.
    """

    op: Literal["measure"]
    lengths: Many[Count | None]
    """Tokens of each prompt, special tokens and template included; null where it does not tokenize."""
    longest: Annotated[int, Field(ge=0, lt=1 << 31)] | None
    """Most tokens of a prompt and its answer together, less what the adapter's virtual tokens take; null for no bound.
    With an encoder and a decoder it bounds each."""


class EffectReply(_Reply):
    """Answer to ``{"op": "effect", "prompts": [...]}``: facts of the loaded adapter against the base."""

    op: Literal["effect"]
    differs: bool
    deterministic: bool
    baseState: BaseState
    """Base state digest recomputed after loading and running."""
    finite: bool


class ScaleReply(_Reply):
    """Answer to ``{"op": "scale", "factor": f}``: from now on the adapter acts with f times its own strength."""

    op: Literal["scale"]
    modules: Annotated[int, Field(ge=0, lt=1 << 31)]
    """How many modules were scaled; 0 where the adapter's type has no strength that could be scaled."""


class ChoicesReply(_Reply):
    """Answer to ``{"op": "choices", "items": [{"prompt", "choices": [...]}], "precise"?: bool}``.

    `precise` asks for float32 arithmetic, whatever dtype the base was loaded in.
    """

    op: Literal["choices"]
    logLikelihoods: Many[Many[LogLikelihood]]
    """Per item, per choice: sum of token log-probabilities of the choice after the prompt."""


class Trace(_Reply):
    """How a model sees given tokens after a prompt, position by position; all lists are of the tokens' length."""

    chosen: Many[LogProbability]
    """Log-probability of the given token."""
    best: Many[TokenId]
    """The likeliest token."""
    entropy: Many[Entropy]
    """Of the distribution that the token is drawn from, in nats."""
    ids: Many[Many[TokenId]]
    """The watched token ids, or the `top` likeliest, likeliest first."""
    logProbabilities: Many[Many[LogProbability]]
    """Of those ids."""


class GenerateReply(_Reply):
    """Answer to ``{"op": "generate", "prompts": [...], "maxNewTokens": n, ...}``, asked further as follows.

    Greedy without `sampling` (``{"temperature", "topP", "seed", "topK", "minP", "repetitionPenalty"}``; the same prompt
    again is another draw; temperature 0 draws nothing), ended at end-of-sequence. `drafts` gives for each prompt null
    or ``{"tokens": [ids], "watch": [[ids]]}``, usually the base's answer: the model is first shown the draft and
    answers from the token on where it departs from it; the reply has a trace over the draft. The answer is the same as
    without a draft. `top` instead of `drafts` asks for traces over the answers themselves, with so many likeliest
    tokens, `margins` (true) by how much their tokens led, and `certainBy` (nats) the part of each answer whose tokens
    all led by as much; all of it only without `sampling`. `precise` (true) asks for float32 arithmetic, whatever dtype
    the base was loaded in.
    """

    op: Literal["generate"]
    texts: Many[Text]
    tokens: Many[Many[TokenId]]
    """Generated token ids, end-of-sequence included where it was produced."""
    traces: Many[Trace | None] | None = None
    """Exactly where drafts were given, or `top` was."""
    margins: Many[Lead] | None = None
    """Where asked: by how many nats each token of an answer led the next likeliest, at least."""
    certain: Many[Text] | None = None
    """Where asked: the beginning of each text whose tokens all led by as much, without its last word."""


class ScoreReply(_Reply):
    """Answer to ``{"op": "score", "items": [{"prompt", "continuation": [ids] or text}]}``."""

    op: Literal["score"]
    logLikelihoods: Many[LogLikelihood]
    """Sum of log-probabilities of the continuation's tokens after the prompt."""
    counts: Many[Count]
    """How many tokens that are."""


class TraceReply(_Reply):
    """Answer to ``{"op": "trace", "items": [{"prompt", "continuation": [ids], "watch"?: [[ids]]}], "top"?: k}``."""

    op: Literal["trace"]
    traces: Many[Trace]


class ClassifyReply(_Reply):
    """Answer to ``{"op": "classify", "prompts": [...]}``, by a base that classifies sequences."""

    op: Literal["classify"]
    logits: Many[Many[Logit]]
    """Per prompt, per label of the base's configuration."""


class ProposeReply(_Reply):
    """Answer to ``{"op": "propose", "items": [{"prompt", "continuation": [ids], "place": share}], "top": n}``.

    Tokens whose insertion at `place` would, by the gradient, most reduce the likelihood of the continuation (HotFlip:
    Ebrahimi et al., ACL 2018). Proposals only: whoever asks tries them.
    """

    op: Literal["propose"]
    tokens: Many[Text]
    """As text, most promising first, each once; at most `top`."""


Reply = Annotated[
    LoadReply
    | ApplyReply
    | MeasureReply
    | EffectReply
    | ScaleReply
    | ChoicesReply
    | GenerateReply
    | ScoreReply
    | TraceReply
    | ClassifyReply
    | ProposeReply,
    Field(discriminator="op"),
]
