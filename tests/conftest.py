"""Which tests run when, and where coverage is traced."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

COVERING = frozenset({"attacks", "certify", "evaluation", "gate", "runtime", "store", "trust"})
"""Folders whose tests alone reach every branch of the rooms named in the Makefile; tracing doubles what tests take."""

LANES = frozenset(
    {
        "acceptance/test_bad_input.py",
        "acceptance/test_interruption.py",
        "attacks/adapter/test_id_triggers.py",
        "attacks/gate/test_promises.py",
        "attacks/intake/test_holding_inspect.py",
        "attacks/intake/test_memory.py",
        "attacks/runtime/test_another_model.py",
        "attacks/runtime/test_compiled.py",
        "attacks/runtime/test_lengths.py",
        "attacks/runtime/test_let_in.py",
        "attacks/sandbox/test_attack_matrix.py",
        "attacks/sandbox/test_changed_workers.py",
        "attacks/sandbox/test_endings.py",
        "attacks/sandbox/test_examiner.py",
        "attacks/sandbox/test_hostile_children.py",
        "attacks/sandbox/test_hostile_replies.py",
        "attacks/sandbox/test_lying_children.py",
        "attacks/suites",
        "attacks/workspace/test_tampering.py",
        "cli/test_hostile_user.py",
        "harness/test_language.py",
        "lanes",
        "observe_static/test_catalogue.py",
        "pipeline/test_answers.py",
        "pipeline/test_borderline.py",
        "pipeline/test_default_types.py",
        "pipeline/test_exercised.py",
        "pipeline/test_lists.py",
        "pipeline/test_next_steps.py",
        "pipeline/test_places.py",
        "pipeline/test_policy.py",
        "pipeline/test_policy_page.py",
        "pipeline/test_provenance.py",
        "pipeline/test_rights.py",
        "pipeline/test_rights_snapshots.py",
        "pipeline/test_side_by_side.py",
        "pipeline/test_touched.py",
        "pipeline/test_verify.py",
        "pipeline/test_waivers.py",
        "runtime/test_activate.py",
        "runtime/test_positive_controls.py",
        "sandbox/test_answers.py",
        "sandbox/test_architectures.py",
        "sandbox/test_contract.py",
        "sandbox/test_contract_of_others.py",
        "sandbox/test_devices.py",
        "zoo",
    }
)
"""Files and folders that take longest, a minute of a core or more each: `make test-lanes` runs them."""


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    if gone := [place for place in sorted(LANES) if not (here / place).exists()]:
        raise pytest.UsageError(f"tests/conftest.py lists lanes that do not exist: {', '.join(gone)}")
    for item in items:
        path = item.path.relative_to(here)
        if path.parts[0] == "foreign":
            item.add_marker(pytest.mark.foreign)
        lane = any(str(place) in LANES for place in (path, *path.parents))
        if lane:
            item.add_marker(pytest.mark.lane)
        if lane or path.parts[0] not in COVERING:
            item.add_marker(pytest.mark.no_cover)
