"""The withdrawn adapters that the probe `withdrawn` compares an admitted adapter with."""

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE, Artifact
from peft_assay.observe.interface import Withdrawn
from peft_assay.pipeline.deployment import Deployment


def withdrawn_for(deployment: Deployment, artifact: Artifact) -> Withdrawn:
    """Return the newest list, and the files of `artifact`, which are in the quarantine, where that list asks for them.

    Raises TrustError where the list or a stored file was altered.
    """
    record = deployment.revocations()
    if record is None or all(entry.function is None for entry in record.list.revocations):
        return Withdrawn(None if record is None else record.list, {})
    deciding = [file for file in artifact.files if file.path in (CONFIG_FILE, WEIGHTS_FILE)]
    return Withdrawn(record.list, {file.path: deployment.workspace.blobs.get(file.sha256) for file in deciding})
