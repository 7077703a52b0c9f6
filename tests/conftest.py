"""Where coverage is traced: it doubles what the other tests take, and says nothing about the rooms it is counted for."""

from pathlib import Path

import pytest

COVERING = frozenset({"attacks", "certify", "evaluation", "gate", "runtime", "store", "trust"})
"""Folders whose tests alone reach every branch of the rooms named in the Makefile."""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).parts[0] not in COVERING:
            item.add_marker(pytest.mark.no_cover)
