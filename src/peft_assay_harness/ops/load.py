"""``{"op": "load"}``: puts the adapter on the base, exactly as declared or not at all."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session
from peft_assay_harness.tasks import TASKS
from peft_assay_loading.config import parse_config
from peft_assay_loading.errors import LoadingError
from peft_assay_loading.fitting import Fit
from peft_assay_loading.load import attach, conversions_of, find_fit
from peft_assay_loading.plans import PlanUnmet

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - has no parameters
    """Return whether it loaded, the tensor plan, what PEFT converted, and why it did not load."""
    plan: dict[str, list[str]] = {"missing": [], "extra": [], "mismatched": []}
    problem = None
    try:
        attach_adapter(session)
    except PlanUnmet as unmet:
        problem = str(unmet)
        plan = {name: list(getattr(unmet.plan, name)) for name in plan}
    except LoadingError as error:
        problem = str(error)
    conversions = list(session.fit.conversions) if session.loaded and session.fit else []
    return {"op": "load", "loaded": session.loaded, "plan": plan, "conversions": conversions, "problem": problem}


def attach_adapter(session: Session) -> None:
    """Loads the session's files; raises LoadingError and leaves the base bare when that cannot be done."""
    files = session.files or {}
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise LoadingError(f"the adapter has no {name}")
    task = TASKS[session.engine.task]
    named = parse_config(files[CONFIG]).task_type
    if named is not None and named != task.task_type:
        raise LoadingError(
            f"adapter_config.json: task_type {named!s:.40} is for another kind of base than this {task.called}"
        )
    config, weights = files[CONFIG], files[WEIGHTS]
    if session.fit is None:
        blank, session.blank = session.blank, None
        session.fit = find_fit(session.base, config, weights, blank)
    longer = session.tokenizer
    wrapped = attach(session.base, config, weights, known=session.fit)
    session.fit = session.fit or Fit(config, weights, conversions_of(wrapped))
    session.engine.tokenizer = longer
    session.engine.use(wrapped)
    session.loaded = True
    session.changed()
