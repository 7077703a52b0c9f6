"""Activation in PEFT: verified bytes in, an active adapter out, or the model as it was.

The gate comes before injection, because in PEFT merely loading an adapter can overwrite the base or another adapter.
What was verified is what is loaded: the same bytes objects, never a path or a repository id.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.certificate import Activation
from peft_assay.core.digest import parse_digest
from peft_assay.core.errors import ActivationDenied, ObservationError
from peft_assay.core.protocols import Authorizer
from peft_assay.runtime.twin import check_likeness

NEEDS = "activation needs torch and PEFT in this process"


@dataclass(slots=True)
class ActiveAdapter:
    """An adapter that the gate let in: the model with it, and the permission it rests on.

    The permission is bounded in time and bound to this process; `model` gives the wrapped model only while it holds.
    """

    permission: Activation
    clock: Callable[[], datetime]
    _model: Any = field(repr=False)

    @property
    def model(self) -> Any:
        """The PeftModel; raises ActivationDenied once the permission ended, or in another process."""
        self.check()
        return self._model

    def check(self) -> None:
        """Raises ActivationDenied when the permission no longer holds here and now."""
        if self._model is None:
            raise ActivationDenied("it was deactivated", check="times", next_step="activate it again")
        if os.getpid() != self.permission.process_id:
            raise ActivationDenied("the permission is another process's", check="process", next_step="activate it here")
        if self.clock() >= self.permission.not_after:
            raise ActivationDenied(
                f"the permission ended at {self.permission.not_after.isoformat()}",
                check="times",
                next_step="certify it again, then activate it again",
            )

    def deactivate(self) -> Any:
        """Takes the adapter off and gives the base model back as it was before activation."""
        from peft_assay_loading.load import detach

        model, self._model = self._model, None
        return None if model is None else detach(model)


def activate(
    model: Any, files: Mapping[str, bytes], authorizer: Authorizer, clock: Callable[[], datetime]
) -> ActiveAdapter:
    """`files` active on `model`, if `authorizer` permits exactly these bytes on exactly this base.

    Raises ActivationDenied or TrustError (the gate's), or ActivationDenied with check ``load`` when the bytes do not
    fit the base; in each case the model is left as it was.
    """
    try:
        from peft_assay_loading.errors import LoadingError
        from peft_assay_loading.load import attach, refuse_altered
        from peft_assay_loading.state import base_state
    except ImportError as error:
        raise ObservationError(f"{NEEDS}: {error}", next_step="pip install 'peft-assay[runtime]'") from None
    try:
        refuse_altered(model)
        state = parse_digest(base_state(model))
    except LoadingError as error:
        raise ActivationDenied(str(error), check="base", next_step="hand over the bare base model") from None
    permission = authorizer.authorize(files, state)
    check_likeness(model, authorizer.base_documents(), authorizer.task)
    try:
        wrapped = attach(model, permission.files[CONFIG_FILE], permission.files[WEIGHTS_FILE])
    except LoadingError as error:
        raise ActivationDenied(
            str(error), check="load", next_step="certify it again under the installed PEFT"
        ) from None
    return ActiveAdapter(permission, clock, wrapped)
