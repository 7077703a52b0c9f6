"""Help on a screen of 80 columns: no line is longer, and no summary is cut."""

import pytest

from cli.command_line import say

GROUPS = ((), ("policy",), ("suite",), ("rights",))
COMMANDS = ("inspect", "discover", "init", "certify", "waive", "verify", "revoke", "report", "doctor")


@pytest.mark.parametrize("words", [*GROUPS, *((name,) for name in COMMANDS)], ids=" ".join)
def test_help_fits_a_screen(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = say(*words, "--help").out.splitlines()
    assert lines
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if line.endswith("...") and not line.startswith("Usage")] == []
