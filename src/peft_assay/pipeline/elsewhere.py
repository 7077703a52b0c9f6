"""What is written where the workspace may only be read: permissions, beside the marks in the trust anchor's state."""

import warnings
from datetime import datetime

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.certificate import Activation
from peft_assay.pipeline.deployment import Deployment
from peft_assay.store.ledger import spell
from peft_assay.trust.state_files import append_durably, only_readable

FILE = "activations.jsonl"


class RecordedElsewhere(UserWarning):
    """A permission was recorded outside of the workspace, which may only be read: `revoke` does not count it."""


def record_activation(deployment: Deployment, permission: Activation, *, at: datetime) -> None:
    """Record a permission of the gate in the workspace's ledger; where that may only be read, in the anchor's state.

    Warns of the latter. Raises StorageError, OSError.
    """
    workspace = deployment.workspace
    if workspace.snapshot is None:
        workspace.record_activation(permission, at=at)
        return
    path = deployment.location.state / FILE
    line = {
        "workspace": workspace.id,
        "artifact": permission.artifact,
        "lock": permission.lock,
        "notAfter": spell(permission.not_after),
        "at": spell(at),
    }
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        append_durably(path, canonical_bytes(line) + b"\n")
        where = f"is recorded in {path}"
    except OSError as error:
        if not only_readable(error):
            raise
        where = f"is recorded nowhere, because {path.parent} may only be read too"
    told = f"{workspace.folder} may only be read: this activation {where}, and peft-assay revoke does not count it"
    warnings.warn(told, RecordedElsewhere, stacklevel=2)
