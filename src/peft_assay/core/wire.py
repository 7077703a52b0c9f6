"""Harness protocol v1: what supervisor and sandboxed child say to each other.

Frames are a 4-byte big-endian length and that many bytes of JSON. Replies are hostile: the sandbox room caps their
bytes, parses them strictly and validates them here (closed schemas, finite numbers) before anybody reads a field.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field

PROTOCOL = 1

Finite = Annotated[float, Field(allow_inf_nan=False)]
Item = TypeVar("Item")
Many = Annotated[list[Item], FailFast()]
"""A list that is refused at its first wrong item: an error kept for each of millions would fill the supervisor."""


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Plan(_Reply):
    """Tensor names against what configuration and base require; all empty when they are equal."""

    missing: Many[str]
    extra: Many[str]
    mismatched: Many[str]


class LoadReply(_Reply):
    """Answer to ``{"op": "load"}``. `loaded` is false when the plan is unmet or the configuration does not fit."""

    op: Literal["load"]
    loaded: bool
    plan: Plan
    problem: str | None
    """Why it was not loaded, in one line."""


class EffectReply(_Reply):
    """Answer to ``{"op": "effect", "prompts": [...]}``: facts of the loaded adapter against the base."""

    op: Literal["effect"]
    differs: bool
    deterministic: bool
    baseState: str
    """Base state digest recomputed after loading and running."""
    finite: bool


class ChoicesReply(_Reply):
    """Answer to ``{"op": "choices", "items": [{"prompt", "choices": [...]}]}``."""

    op: Literal["choices"]
    logLikelihoods: Many[Many[Finite]]
    """Per item, per choice: sum of token log-probabilities of the choice after the prompt, natural logarithm."""


class GenerateReply(_Reply):
    """Answer to ``{"op": "generate", "prompts": [...], "maxNewTokens": n}``: greedy, ended at end-of-sequence."""

    op: Literal["generate"]
    texts: Many[str]
    tokens: Many[Many[int]]
    """Generated token ids, end-of-sequence included where it was produced."""


class ScoreReply(_Reply):
    """Answer to ``{"op": "score", "items": [{"prompt", "continuation": [ids]}]}``."""

    op: Literal["score"]
    logLikelihoods: Many[Finite]
    """Sum of log-probabilities of the continuation's tokens after the prompt, natural logarithm."""


Reply = Annotated[LoadReply | EffectReply | ChoicesReply | GenerateReply | ScoreReply, Field(discriminator="op")]
