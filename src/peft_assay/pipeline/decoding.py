"""How the deployment decodes: as the document says, or else as engines do with the base's own generation_config.json.

Settings that the harness cannot exercise are named, never left out silently: other settings give other answers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from peft_assay.core.errors import DocumentError
from peft_assay.core.exercises import Sampling
from peft_assay.pipeline.documents import SamplingSection

_TOP_K = 50
"""transformers' default number of likeliest tokens, where a configuration samples and names none."""
_LEAST, _GREATEST = 1e-9, 1e6
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "begin_suppress_tokens": ([],),
    "constraints": ([],),
    "bad_words_ids": ([],),
    "diversity_penalty": (0,),
    "dola_layers": (),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "exponential_decay_length_penalty": (),
    "force_words_ids": ([],),
    "forced_bos_token_id": (),
    "guidance_scale": (1,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "no_repeat_ngram_size": (0,),
    "num_beam_groups": (1,),
    "num_beams": (1,),
    "penalty_alpha": (0,),
    "sequence_bias": ({}, []),
    "stop_strings": ([],),
    "suppress_tokens": ([],),
    "top_h": (),
    "typical_p": (1,),
    "watermarking_config": (),
}
"""Fields of transformers' GenerationConfig that change the chosen tokens, with their values without effect."""
_ONLY_DRAWN = frozenset({"typical_p", "epsilon_cutoff", "eta_cutoff", "top_h"})
"""Fields without effect where nothing is drawn."""


def declared_decoding(
    section: SamplingSection | None, config: Mapping[str, Any], *, where: str
) -> tuple[Sampling | None, tuple[str, ...]]:
    """Return how the deployment decodes (None: greedily), and the settings that cannot be exercised.

    `config` is the base's generation configuration, from the file `where`. Raises DocumentError for a value in it that
    is no number where one is needed.
    """
    if section is not None:
        told = Sampling(section.temperature, section.topP, section.topK, section.minP, section.repetitionPenalty)
        return (None if told.greedy else told), ()
    drawn = config.get("do_sample") not in (None, False)  # 1 and "true" count as true in transformers
    penalty = _number(config, "repetition_penalty", 1.0, where)
    found = Sampling(temperature=0.0, repetition_penalty=penalty or 1.0)
    if drawn:
        found = Sampling(
            _number(config, "temperature", 1.0, where),
            min(1.0, max(_LEAST, _number(config, "top_p", 1.0, where))),
            int(_number(config, "top_k", _TOP_K, where)),
            min(1.0, _number(config, "min_p", 0.0, where)),
            penalty or 1.0,
        )
    return (None if found.greedy else found), tuple(_unexercised(config, drawn=drawn))


def _number(config: Mapping[str, Any], name: str, otherwise: float, where: str) -> float:
    value = config.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _GREATEST:
        raise DocumentError(
            f"{name}: expected a number from 0 to {_GREATEST:g}, found {str(value)[:60]}",
            where=where,
            next_step="correct it, or say how you decode under behaviour.sampling in peft-assay.yaml",
        )
    return float(value)


def _unexercised(config: Mapping[str, Any], *, drawn: bool) -> Iterator[str]:
    for name in sorted(_NEUTRAL):
        value = config.get(name)
        if value is None or any(value == neutral for neutral in _NEUTRAL[name]):
            continue
        if drawn or name not in _ONLY_DRAWN:
            yield f"{name}: {str(value)[:60]}"
