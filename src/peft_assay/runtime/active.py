"""Activation in PEFT: verified bytes in, an active adapter out, or the model as it was.

The gate comes before injection, because in PEFT merely loading an adapter can overwrite the base or another adapter.
What was verified is what is loaded: the same bytes objects, never a path or a repository id.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.certificate import Activation
from peft_assay.core.digest import parse_digest
from peft_assay.core.errors import ActivationDenied, ObservationError
from peft_assay.core.protocols import Authorizer
from peft_assay.runtime.foreign import Code
from peft_assay.runtime.guard import Guard, Refusal, Uncopyable, retire
from peft_assay.runtime.twin import check_likeness
from peft_assay.trust import capability

NEEDS = "activation needs torch and PEFT in this process"


class ActiveAdapter(Uncopyable):
    """An activated adapter: the model with it, and the permission it rests on.

    The permission is bounded in time and bound to this process; `model` gives the wrapped model only while it holds,
    and the model itself asks before each forward pass. Nothing of it can be set or copied.
    """

    __slots__ = ("_guard", "_model", "permission")
    permission: Activation
    """The gate's permission; read only."""
    _guard: Guard
    _model: Any

    def __init__(self, permission: Activation, guard: Guard, model: Any) -> None:
        capability.check_held(permission)
        if guard.permission is not permission:
            _refuse_change()
        for name, value in (("permission", permission), ("_guard", guard), ("_model", model)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        _refuse_change()

    def __delattr__(self, name: str) -> NoReturn:
        _refuse_change()

    @property
    def model(self) -> Any:
        """Return the PeftModel; raises ActivationDenied once the permission ended or its model was changed."""
        self._alive()
        self._guard.quick()
        self._guard.look()
        return self._model

    @property
    def beyond_tested(self) -> str | None:
        """Return the first prompt or answer that was longer than tested or declared, in words; None where there was
        none.
        """
        return self._guard.lengths.found

    def check(self) -> None:
        """Raise ActivationDenied unless everything is as permitted: all attributes, all bytes, and the newest list."""
        self._alive()
        if self._guard.permission is not self.permission:
            _refuse_change()
        self._guard.ask_time()
        capability.check_held(self.permission)
        self._guard.prove()

    def _alive(self) -> None:
        if self._model is None:
            raise ActivationDenied("it was deactivated", check="times", next_step="activate it again")

    def deactivate(self) -> Any:
        """Take the adapter off and give the base model back, byte for byte as it was before activation.

        Raises ActivationDenied with check ``base`` where the base's own tensors hold other bytes, as after merging: it
        then answers nothing any more. A model that was taken from here before answers nothing either.
        """
        from peft_assay_loading.errors import LoadingError
        from peft_assay_loading.load import detach

        model = self._model
        object.__setattr__(self, "_model", None)
        if model is None:
            return None
        try:
            return detach(model)
        except LoadingError as error:
            refusal = Refusal(str(error), "base", "load the base again, then activate on it")
            for place in self._guard.places:
                place.register_forward_pre_hook(refusal)
            raise ActivationDenied(
                f"it was taken off, but {error}",
                check="base",
                next_step="load the base again: this one answers nothing any more",
            ) from None
        finally:
            retire(model)


def _bare(why: str) -> str:
    """Return the step for a model that is more than a base, where `why` says in which way."""
    if "carries an adapter" in why:
        return (
            "deactivate the adapter that is on it (deactivate() of what activate returned gives the base back); to "
            "serve two adapters, load the base twice"
        )
    return "load the base again with from_pretrained, and pass it as it is"


def _refuse_change() -> NoReturn:
    raise ActivationDenied(
        "a permission is not changed or put together by hand",
        check="permission",
        next_step="activate it with peft_assay.activate",
    )


def activate(
    model: Any,
    files: Mapping[str, bytes],
    authorizer: Authorizer,
    clock: Callable[[], datetime],
    look_every: float = 10.0,
) -> ActiveAdapter:
    """`files` active on `model`, if `authorizer` permits exactly these bytes on exactly this base.

    Raises ActivationDenied or TrustError (the gate's), or ActivationDenied with check ``load`` when the bytes do not
    fit the base; in each case the model is left as it was.
    """
    try:
        from peft_assay_loading.errors import LoadingError
        from peft_assay_loading.load import attach, detach, refuse_altered
        from peft_assay_loading.state import base_state
    except ImportError as error:
        raise ObservationError(f"{NEEDS}: {error}", next_step="pip install 'peft-assay[runtime]'") from None
    try:
        refuse_altered(model)
        state = parse_digest(base_state(model))
    except LoadingError as error:
        raise ActivationDenied(str(error), check="base", next_step=_bare(str(error))) from None
    permission = authorizer.authorize(files, state)
    capability.use(permission)
    check_likeness(model, authorizer.base_documents(), authorizer.task)
    try:
        wrapped = attach(model, permission.files[CONFIG_FILE], permission.files[WEIGHTS_FILE])
    except LoadingError as error:
        raise ActivationDenied(
            str(error), check="load", next_step="certify it again under the installed PEFT"
        ) from None
    for name in Code(wrapped).replaced():  # of PEFT's, which the bare model had none of
        detach(wrapped)
        raise ActivationDenied(
            f"{name} was replaced in this process", check="load", next_step="leave out what replaces it"
        )
    guard = Guard(wrapped, permission, clock, authorizer.stand, look_every)
    return ActiveAdapter(permission, guard, wrapped)
