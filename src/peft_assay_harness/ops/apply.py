"""``{"op": "apply", "modules": [...], "parameters": [...]}``: puts the adapter on by our own arithmetic.

Nothing of PEFT is called.
"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.arithmetic import Inapplicable, apply_adapter, put_parameters
from peft_assay_harness.ops.load import WEIGHTS
from peft_assay_harness.session import Session
from peft_assay_loading.errors import LoadingError


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many modules act as adapted now, and why none do where that cannot be done."""
    if session.loaded or not session.files:
        raise RuntimeError("an adapter is applied once, to a bare base")
    applied, problem = 0, None
    try:
        put_parameters(session.base, session.files[WEIGHTS], request["parameters"])
        applied = apply_adapter(session.base, session.files[WEIGHTS], request["modules"])
        session.engine.tokenizer = session.tokenizer
        session.engine.use(session.base)
    except (Inapplicable, LoadingError) as error:
        problem = str(error)
    session.loaded = problem is None
    return {"op": "apply", "applied": applied, "problem": problem}
