"""The head of a classifier: what PEFT trains and saves in full for the task that the configuration declares.

For SEQ_CLS and TOKEN_CLS PEFT adds `classifier` and `score` to modules_to_save by itself, also where the file says
null, for QUESTION_ANS `qa_outputs`. A head stands at the top of its model; a module of such a name deeper in the base
is none.
"""

from collections.abc import Iterable, Iterator, Mapping

import re2

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.reading import Configuration, read_configuration, read_weights

PREFIX = "base_model.model."
IMPLIED: Mapping[str, tuple[str, ...]] = {
    "SEQ_CLS": ("classifier", "score"),
    "TOKEN_CLS": ("classifier", "score"),
    "QUESTION_ANS": ("qa_outputs",),
}
"""By task type: what PEFT saves without being asked (`PeftModelForSequenceClassification` and its siblings)."""
HEADS: Mapping[str, frozenset[str]] = {
    task: frozenset(names) | {"pre_classifier", "classification_head"} for task, names in IMPLIED.items()
}
"""By task type: modules at the top of transformers' classes that are new with the task."""
TASKS = {"causal-lm": "CAUSAL_LM", "seq2seq-lm": "SEQ_2_SEQ_LM", "seq-cls": "SEQ_CLS"}
"""The task type that an adapter for a base of the context's task declares, if it declares one."""


def task_of(configuration: Configuration) -> str | None:
    """Return the declared task type; None where there is none."""
    value = configuration.get("task_type")
    return value if isinstance(value, str) else None


def implied(configuration: Configuration) -> tuple[str, ...]:
    """Return the modules that PEFT saves in full for the declared task without being asked."""
    return IMPLIED.get(task_of(configuration) or "", ())


def head_names(configuration: Configuration, names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return those of modules_to_save that are heads of the declared task.

    With the `names` of the file's tensors: only if all that a name takes of the base stands at the top of the model.
    """
    known = HEADS.get(task_of(configuration) or "", frozenset())
    declared = [name for name in configuration.names("modules_to_save") if name in known]
    tensors = () if names is None else tuple(name.removeprefix(PREFIX) for name in names)
    return tuple(name for name in declared if all(local.split(".")[0] in known for local in _taken(name, tensors)))


def _taken(name: str, tensors: Iterable[str]) -> Iterator[str]:
    """Give the tensors that PEFT saves under a name: it matches the end of a module's path as plain text."""
    inside = re2.compile(re2.escape(name) + r"\.")
    return (local for local in tensors if inside.search(local) and not _adapters_own(local))


def _adapters_own(local: str) -> bool:
    return ".lora_" in local


def heads_in(configuration: Configuration, names: Iterable[str]) -> tuple[str, ...]:
    """Return the heads of the declared task that the file holds."""
    known = HEADS.get(task_of(configuration) or "", frozenset())
    first = (name.removeprefix(PREFIX).split(".")[0] for name in names)
    return tuple(sorted({name for name in first if name in known}))


def mismatch(configuration: Configuration, task: str | None) -> Iterator[str]:
    """Yield how the adapter's declared task is not that of the base, whose task the context names."""
    declared, expected = task_of(configuration), TASKS.get(task or "")
    if declared is not None and expected is not None and declared != expected:
        yield f"task_type is {declared[:40]}, and the base of the context is for {expected} ({task})"


class HeadsProbe:
    """reach.head, weights.missing_head and base.task."""

    id = "heads"
    version = "1"
    terms = ("reach.head", "weights.missing_head", "base.task")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        configuration, by = read_configuration(subject), ObservedBy.INTAKE
        yield ok("base.task", tuple(mismatch(configuration, subject.context.task)), by=by)
        try:
            names = [tensor.name for tensor in read_weights(subject).tensors]
        except Unreadable as problem:
            yield from (failed(name, f"heads: {problem}", by=by) for name in ("reach.head", "weights.missing_head"))
            return
        heads, wanted = heads_in(configuration, names), implied(configuration)
        yield ok("reach.head", heads, by=by)
        yield ok("weights.missing_head", (" or ".join(wanted),) if wanted and not heads else (), by=by)
