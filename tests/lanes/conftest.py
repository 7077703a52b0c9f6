import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty folder to give to somebody else: not below pytest's own, which every session makes private again."""
    folder = Path(tempfile.mkdtemp(prefix="assay-lane-"))
    yield folder
    shutil.rmtree(folder)
