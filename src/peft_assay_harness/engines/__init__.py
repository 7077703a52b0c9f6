"""Engines: what computes the answers. One file for each kind of base, behind the Protocol of `interface`."""

from typing import Any

from peft_assay_harness.engines.causal import CausalEngine
from peft_assay_harness.engines.classifier import ClassifierEngine
from peft_assay_harness.engines.interface import Engine
from peft_assay_harness.engines.seq2seq import Seq2SeqEngine
from peft_assay_harness.tasks import CAUSAL, CLASSIFIER, SEQ2SEQ


def engine_for(task: str, model: Any, tokenizer: Any) -> Engine:
    """The engine for a base of this kind; raises KeyError for a task that there is none for."""
    engines: dict[str, type[CausalEngine | Seq2SeqEngine | ClassifierEngine]] = {
        CAUSAL: CausalEngine,
        SEQ2SEQ: Seq2SeqEngine,
        CLASSIFIER: ClassifierEngine,
    }
    return engines[task](model, tokenizer)
