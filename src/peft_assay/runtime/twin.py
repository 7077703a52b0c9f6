"""Build the model that the certified files of a base describe, without memory, and compare a live model with it.

The base state is over tensors. The same tensors are another model with another activation function, epsilon, rotary
base, generation setting or a replaced forward pass; the twin shows it.
"""

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft_assay.core.errors import ActivationDenied
from peft_assay.runtime.foreign import Code, foreign_attention
from peft_assay.runtime.likeness import FREE_SETTINGS, Likeness

CONFIG, GENERATION = "config.json", "generation_config.json"
DOCUMENTS = (CONFIG, GENERATION)
"""Files of a base that decide how it computes with its tensors."""
LOADERS = {
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "seq-cls": "AutoModelForSequenceClassification",
}
GENERATIVE = frozenset({"causal-lm", "seq2seq-lm"})
SHOWN = 3


def check_likeness(model: Any, documents: Mapping[str, bytes], task: str) -> None:
    """Raise ActivationDenied with check ``base`` unless `model` is exactly the model that `documents` of the base
    describe.
    """
    step = f"load the declared base as it is, without other settings: {LOADERS[task]}.from_pretrained(BASE)"
    twin = _twin(documents, task, getattr(model, "dtype", None))
    # Rows of a batch are filled with the pad token and masked; a classifier reads its answer before the first one.
    free = FREE_SETTINGS | ({"pad_token_id"} if task in GENERATIVE else frozenset())
    found = []
    for difference in Likeness(free).differences(model, twin):
        found.append(str(difference))
        if len(found) == SHOWN:
            break
    if found:
        raise ActivationDenied(f"the same tensors, but another model: {'; '.join(found)}", check="base", next_step=step)
    for name in Code(model).replaced():
        raise ActivationDenied(
            f"the same tensors, but other code: {name} was replaced in this process",
            check="base",
            next_step="remove the code that replaces it, or certify the changed model",
        )
    attention = foreign_attention(model)
    if attention is not None:
        raise ActivationDenied(
            f"the attention implementation {attention!r} is not transformers' own",
            check="base",
            next_step="load the declared base with one of transformers' own (sdpa, eager)",
        )


def _twin(documents: Mapping[str, bytes], task: str, dtype: Any) -> Any:
    """Return the model that the files describe, on the meta device; raises ActivationDenied where there is none."""
    import torch
    import transformers

    with tempfile.TemporaryDirectory(prefix="peft-assay-") as folder, _quietly():
        for name, content in documents.items():
            (Path(folder) / name).write_bytes(content)
        try:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            with torch.device("meta"):
                twin = getattr(transformers, LOADERS[task]).from_config(
                    config, trust_remote_code=False, **({} if dtype is None else {"dtype": dtype})
                )
            if GENERATION in documents and task in GENERATIVE:
                twin.generation_config = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, AttributeError) as error:
            said = " ".join(str(error).split())[:200]
            raise ActivationDenied(
                f"no model can be made from the base's certified {CONFIG}: {said}",
                check="base",
                next_step="certify again under the installed transformers",
            ) from None
    return twin


@contextmanager
def _quietly() -> Iterator[None]:
    """Build without warnings about an object that is only for comparison, and without moving the caller's random
    numbers.
    """
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield
