"""Which kinds of base a worker can exercise: names on its command line, and what they are to transformers and PEFT."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of base."""

    loader: str
    """transformers' auto class."""
    task_type: str
    """What an adapter for such a base names in its configuration (``peft.TaskType``)."""
    called: str
    """In messages to people."""


CAUSAL, SEQ2SEQ, CLASSIFIER = "causal-lm", "seq2seq-lm", "seq-cls"

TASKS: Mapping[str, Task] = {
    CAUSAL: Task("AutoModelForCausalLM", "CAUSAL_LM", "causal language model"),
    SEQ2SEQ: Task("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM", "sequence-to-sequence language model"),
    CLASSIFIER: Task("AutoModelForSequenceClassification", "SEQ_CLS", "sequence classifier"),
}
