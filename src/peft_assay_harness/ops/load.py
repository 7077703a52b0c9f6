"""``{"op": "load"}``: puts the adapter on the base, exactly as declared or not at all."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session
from peft_assay_harness.tasks import TASKS
from peft_assay_loading.config import parse_config
from peft_assay_loading.errors import LoadingError
from peft_assay_loading.load import PlanUnmet, attach, required_shapes

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - has no parameters
    """Whether it loaded, the tensor plan, and why not."""
    plan: dict[str, list[str]] = {"missing": [], "extra": [], "mismatched": []}
    problem = None
    try:
        attach_adapter(session)
    except PlanUnmet as unmet:
        problem = str(unmet)
        plan = {name: list(getattr(unmet.plan, name)) for name in plan}
    except LoadingError as error:
        problem = str(error)
    return {"op": "load", "loaded": session.loaded, "plan": plan, "problem": problem}


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
    if session.required is None:
        blank, session.blank = session.blank, None
        session.required = required_shapes(session.base, parse_config(files[CONFIG]), blank)
    session.engine.use(attach(session.base, files[CONFIG], files[WEIGHTS], required=session.required))
    session.loaded = True
    session.changed()
