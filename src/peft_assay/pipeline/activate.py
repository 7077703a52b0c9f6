"""`activate`: the library's door. It finds project, workspace and trust anchor as the command line does."""

from collections.abc import Mapping
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Any

from peft_assay.core.certificate import Activation
from peft_assay.core.digest import Digest
from peft_assay.core.errors import ActivationDenied, IntakeError
from peft_assay.gate.authorize import authorize
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import WHOLE, Admitted
from peft_assay.pipeline.base import base_documents
from peft_assay.pipeline.confirming import Confirming
from peft_assay.pipeline.deployment import Clock, Deployment, utc_now
from peft_assay.pipeline.elsewhere import record_activation
from peft_assay.pipeline.evidence import Live, differences, gather
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.project import installed_stack, resolve_source
from peft_assay.pipeline.surface import check_named
from peft_assay.pipeline.unlike import why_other
from peft_assay.runtime import active
from peft_assay.runtime.active import ActiveAdapter


def activate(
    model: Any,
    adapter: str | PathLike[str],
    *,
    context: str | PathLike[str] | None = None,
    workspace: str | PathLike[str] | None = None,
    trust: str | PathLike[str] | None = None,
    clock: Clock = utc_now,
    look_every: timedelta = timedelta(seconds=10),
) -> ActiveAdapter:
    """Activates `adapter` on `model` if it is certified for this deployment, here and now.

    Args:
        model: the bare base (a transformers model), as the deployment serves it.
        adapter: folder or archive, or an alias of the context's declared surface.
        context: peft-assay.yaml or its folder; None: found from the working directory upward.
        workspace: folder that holds ``.peft-assay``; None: beside peft-assay.yaml.
        trust: folder of the trust anchor; None: the system's, else the user's.
        clock: the time, UTC; only tests give another.
        look_every: the longest time that an answering model goes on before it reads the revocation list again.

    Returns:
        the active adapter: ``.model`` is the PeftModel while the permission holds, ``.permission`` says until when. The
        model asks by itself before each forward pass, and raises ActivationDenied once it was withdrawn, ended, or
        differs from the certified state: also through a kept reference, the base inside, or in a forked child.

    Raises:
        ActivationDenied: uncertified, altered, expired, revoked, for another context or another base; names the check.
        TrustError: signatures, keys or evidence that cannot be trusted, or that went back in time.
        IntakeError: the adapter cannot be read as one immutable thing.

    The model is left exactly as it was whenever an error is raised.
    """
    place = Place(_path(context), _path(workspace), _path(trust))
    with Deployment.open(place, reading=True) as deployment:
        deployment.look(clock())
        admitted = _admit(deployment, adapter)
        gate = _Gate(deployment, admitted, str(adapter), clock)
        try:
            return active.activate(model, admitted.files, gate, clock, look_every.total_seconds())
        except ActivationDenied as denial:
            raise gate.explained(denial, model) from None


STATE = "conditions.base.state"
"""Where a lock holds the state of the base that was observed."""


class _Gate:
    """The gate over one deployment, as the runtime room's `Authorizer`."""

    def __init__(self, deployment: Deployment, admitted: Admitted, source: str, clock: Clock) -> None:
        self.deployment = deployment
        self.source = source
        self.admitted = admitted
        self.clock = clock
        self.confirming: Confirming
        self._other_base = False

    @property
    def task(self) -> str:
        """Return the kind of model that the lock's base is."""
        return self.deployment.project.document.context.base.task

    def base_documents(self) -> Mapping[str, bytes]:
        """Return the base's own documents, as its manifest in the lock has them."""
        return base_documents(self.deployment.project.base_path, self.deployment.project.base)

    def authorize(self, files: Mapping[str, bytes], base_state: Digest) -> Activation:
        """Permission for exactly these bytes on a base with this state."""
        evidence = gather(self.deployment, self.admitted.artifact, files, Live(base_state, installed_stack()))
        try:
            permission = authorize(evidence, self.deployment.anchor, self.clock())
        except ActivationDenied as denial:
            changed = differences(self.deployment, evidence) if denial.check == "certificate" else ()
            self._other_base = denial.check == "base" or STATE in changed
            message = f"{denial.message} (now different: {', '.join(changed)})" if changed else denial.message
            step = self.deployment.place.about(denial.next_step or "", self.source)
            raise ActivationDenied(message, check=denial.check, next_step=step) from None
        record_activation(self.deployment, permission, at=self.clock())
        self.confirming = Confirming(self.deployment, evidence, self.clock)
        return permission

    def explained(self, denial: ActivationDenied, model: Any) -> ActivationDenied:
        """Return `denial` with what is different about `model`, where it is not the base that was observed."""
        if not self._other_base:
            return denial
        project = self.deployment.project
        why = why_other(model, project.base_path, project.context.engine.dtype)
        return ActivationDenied(
            f"{denial.message}; the model at hand is not the base that was observed: {why.what}",
            check=denial.check,
            where=denial.where,
            next_step=why.step,
        )

    def stand(self) -> None:
        """Look whether the permission that was given still is, with the step that leads on."""
        try:
            self.confirming.look()
        except ActivationDenied as denial:
            step = self.deployment.place.about(denial.next_step or "", self.source)
            raise ActivationDenied(denial.message, check=denial.check, next_step=step) from None


def _admit(deployment: Deployment, adapter: str | PathLike[str]) -> Admitted:
    try:
        project = deployment.project
        check_named(str(adapter), project.document, project.path)
        return admit(resolve_source(project, str(adapter)), hold=WHOLE)
    except IntakeError as refusal:
        raise ActivationDenied(
            f"intake refuses it: {refusal.message}", check="bytes", where=refusal.where, next_step=refusal.next_step
        ) from refusal


def _path(value: str | PathLike[str] | None) -> Path | None:
    return None if value is None else Path(value)
