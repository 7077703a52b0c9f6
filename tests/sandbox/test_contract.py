"""The backends' contract, kept by the built-in walls."""

import pytest

from peft_assay.core.sandbox import IsolationLevel
from sandbox.contract import BackendContract

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

pytestmark = [pytest.mark.sandbox, pytest.mark.model]


class TestNamespace(BackendContract):
    name = "namespace"
    level = IsolationLevel.NAMESPACE


class TestLandlock(BackendContract):
    name = "landlock"
    level = IsolationLevel.PROCESS
