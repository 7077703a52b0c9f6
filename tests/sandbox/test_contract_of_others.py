"""The backends' contract, kept by namespaces without /proc, and by walls from the allow-list."""

from pathlib import Path

import pytest

from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox import allowlist, choose
from peft_assay.sandbox.allowlist import package_digest
from peft_assay.sandbox.namespace import NamespaceBackend
from sandbox.contract import BackendContract

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

pytestmark = [pytest.mark.sandbox, pytest.mark.model]

FOREIGN = Path(__file__).parent / "foreign"


class TestNamespaceWithoutProc(BackendContract):
    name = "namespace"
    level = IsolationLevel.NAMESPACE

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _without_proc(cls):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(choose.BACKENDS, "namespace", lambda: NamespaceBackend.find().without_proc())
            yield

    def test_the_inside_has_no_proc(self, sandbox):
        assert sandbox.attestation()["walls"]["proc"] is False


class TestListed(BackendContract):
    """Walls of somebody else, who claims that they are a virtual machine's."""

    name = "company-walls"
    level = IsolationLevel.NAMESPACE

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _listed(cls, tmp_path_factory):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(FOREIGN)
            path = tmp_path_factory.mktemp("etc") / "sandbox.yaml"
            path.write_text(
                "apiVersion: peft-assay/sandbox/v1\nbackends:\n  company-walls:\n    factory: company_walls:make\n"
                f"    package: {package_digest('company_walls')}\n"
            )
            patch.setattr(allowlist, "SYSTEM_FILE", path)
            yield

    def test_where_it_comes_from_is_attested(self, sandbox):
        walls = sandbox.attestation()["walls"]
        assert (walls["backend"], walls["factory"]) == ("company-walls", "company_walls:make")
        assert walls["package"] == package_digest("company_walls")
        assert walls["programs"]
