"""The committed table is what PEFT's own classes say, and cold start needs neither numpy nor torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.model
def test_the_committed_table_is_regenerated_from_the_installed_peft(tmp_path):
    peft = pytest.importorskip("peft")
    from peft_assay.observe.static.tables import peft_table

    if peft.__version__ != peft_table().peft:
        pytest.skip(f"the table is for PEFT {peft_table().peft}, installed is {peft.__version__}")
    done = subprocess.run(
        [sys.executable, ROOT / "tools/generate_peft_table.py", "--check"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=240, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_inspecting_imports_neither_numpy_nor_torch():
    code = (
        "import sys, peft_assay.intake.admit, peft_assay.observe.catalogue\n"
        "assert not {'numpy', 'torch', 'scipy', 'peft', 'pickle'} & set(sys.modules) - set(BEFORE), sys.modules"
    ).replace("BEFORE", "()")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()[-400:]
