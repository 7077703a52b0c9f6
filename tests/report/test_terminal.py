"""Terminal renderings: a table at a screen, whole lines in a pipe, and nothing that drives the terminal."""

import io
import re
from dataclasses import replace

import pytest

from peft_assay.core.errors import DocumentError, Door
from peft_assay.core.observation import ObservedBy, failed, ok
from peft_assay.report import sink, terminal
from peft_assay.report.inspection import inspection
from peft_assay.report.interface import InspectionReport, Refusal, Refused, Unshown, VerificationReport
from report.report_support import NOW, certificate, every_outcome, refused, report
from report.test_html import HOSTILE, hostile_report

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def inspected(text: str = "adapter_model.bin") -> InspectionReport:
    observations = (
        ok("weights.pickle_files", (text,), by=ObservedBy.INTAKE),
        failed("weights.canonical", text, by=ObservedBy.INTAKE),
        ok("config.strict", value=True, by=ObservedBy.INTAKE),
    )
    whole = report(paths=("adapter_config.json", text)).artifact
    assert whole is not None
    return InspectionReport(text, "PEFT adapter (LORA)", whole, observations)


def verified(*, valid: bool, text: str = "lora") -> VerificationReport:
    if valid:
        return VerificationReport(text, text, Door.PASSED, certificate(report()), None, "", "")
    return VerificationReport(text, text, Door.DENIED, None, "bytes", f"{text} differs", f"certify {text}")


def everything(text: str, *, tty: bool) -> str:
    made = hostile_report(text)
    return "".join(
        [
            terminal.certification([made, refused(text, text)], tty=tty),
            terminal.rules(made, tty=tty),
            terminal.verification(verified(valid=False, text=text), tty=tty),
            inspection([inspected(text), Refused(text, Refusal(text, text, text))], tty=tty),
            inspection([inspected(text)], tty=tty, flat=True),
            sink.error(DocumentError(text, where=text, next_step=text)),
            sink.phrase("certified {} in {}", text, text),
        ]
    )


def failing(*, stopped: bool, unshown: bool = False):
    """`regressed`, of which the suite lookups decides: asked to its end, or stopped."""
    asked = {"suite.lookups.asked": 23, "suite.lookups.complete": False} if stopped else {}
    low = {"suite.lookups.passes": 3, "suite.lookups.lower": 0.02, **asked}
    held = (Unshown("lookups", "internal", tuple(f"l{n:03}" for n in range(25))),) if unshown else ()
    return replace(report("regressed", low), unshown=held)


def test_what_the_deciding_suite_measured_is_said():
    told = terminal.certification([failing(stopped=False)], tty=False)
    assert "  suite lookups: 3 of 60 right; base 60\n" in told
    stopped = terminal.certification([failing(stopped=True)], tty=False)
    assert "  suite lookups: 3 of 60 right, stopped after 23: the rest count as failures; base 60\n" in stopped
    assert "suite lookups: 3 of 60" in terminal.certification([failing(stopped=True)], tty=True, width=400)
    assert "suite lookups" not in terminal.certification([report()], tty=False)


def test_why_answers_are_not_shown_is_said_with_the_cases_that_failed():
    (line,) = (
        line
        for line in terminal.certification([failing(stopped=True, unshown=True)], tty=False).splitlines()
        if "are not shown" in line
    )
    assert "because it is internal" in line
    assert "l000, l001" in line
    assert "l019 and 5 more" in line
    assert "confidentiality: public" in line
    assert "--workspace" in line


def test_a_pipe_gets_one_line_per_fact() -> None:
    text = terminal.certification(every_outcome(), tty=False)
    lines = text.splitlines()
    assert [line.split()[:3] for line in lines if not line.startswith(" ")] == [
        ["PASS", "lora", "-"],
        ["FAIL", "rare-token", "trigger-scan"],
        ["FAIL", "regressed", "task"],
        ["FAIL", "pickle-weights", "pickle"],
        ["INDETERMINATE", "no-licence", "rights"],
        ["REFUSED", "escaping-symlink", "intake"],
    ]
    assert sum(line.startswith("  why:  ") for line in lines) == 5
    assert sum(line.startswith("  next: ") for line in lines) == 5
    assert sum(line.startswith("  certificate: sha256:") for line in lines) == 1
    assert "\x1b" not in text


def test_a_screen_gets_a_table_that_fits() -> None:
    text = terminal.certification(every_outcome(), tty=True, width=80)
    assert "\x1b[1;31mFAIL" in text
    assert max(len(STYLE.sub("", line)) for line in text.splitlines()) <= 80
    assert "1 PASS, 3 FAIL, 1 INDETERMINATE, 1 REFUSED" in text


def test_nothing_examined_says_so() -> None:
    assert "nothing was examined" in terminal.certification([], tty=True)
    assert terminal.certification([], tty=False) == ""


@pytest.mark.parametrize("tty", [True, False])
def test_rules_with_what_they_saw(tty: bool) -> None:
    text = STYLE.sub("", terminal.rules(report("a", {"config.strict": False}), tty=tty, width=400))
    assert len(re.findall(r"^(?:PASS|.*\bPASS\b)", text, re.MULTILINE)) == 35
    assert "Saw config.strict = false" in text
    assert terminal.rules(refused(), tty=False) == ""


@pytest.mark.parametrize("tty", [True, False])
def test_verification_names_the_certificate_or_the_check(tty: bool) -> None:
    good = STYLE.sub("", terminal.verification(verified(valid=True), tty=tty))
    assert good.startswith("VALID")
    assert "valid until: 2026-04-03 05:06:07 UTC" in good
    bad = STYLE.sub("", terminal.verification(verified(valid=False), tty=tty))
    assert bad.startswith("DENIED")
    assert "check: bytes: lora differs" in bad
    assert "next: certify lora" in bad


@pytest.mark.parametrize("tty", [True, False])
def test_inspection_gives_every_value_and_reason_on_request(tty: bool) -> None:
    text = STYLE.sub("", inspection([inspected()], tty=tty, width=160, flat=True))
    assert "PEFT adapter (LORA); 2 files" in text
    assert "[adapter_model.bin]" in text
    assert re.search(r"weights\.canonical:?\s+failed", text)
    assert NOW.isoformat() not in text


@pytest.mark.parametrize("tty", [True, False])
@pytest.mark.parametrize("text", [*HOSTILE, "[bold red]markup[/] [link=http://x]y[/link] :skull:"])
def test_hostile_text_cannot_drive_the_terminal(text: str, tty: bool) -> None:
    shown = STYLE.sub("", everything(text, tty=tty))
    if not tty:
        assert shown == everything(text, tty=tty)
    assert not [c for c in shown if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
    assert not set(shown) & set("\u202e\u202d\u2066\u2067\u2068\u2069\u200b\ufeff\u2028\u2029")


def test_markup_is_shown_not_interpreted() -> None:
    text = STYLE.sub("", everything("[bold red]x[/] :skull:", tty=True))
    assert "[bold red]x[/] :skull:" in text
    assert "\N{SKULL}" not in text


def test_an_error_names_file_and_next_step() -> None:
    error = DocumentError("kind: input should be 'Policy'", where="p.yaml", next_step="correct it")
    assert sink.error(error) == "peft-assay: p.yaml: kind: input should be 'Policy'\n  next: correct it\n"
    assert sink.error(DocumentError("broken")) == "peft-assay: broken\n"


def test_writing_to_a_stream_that_knows_only_ascii() -> None:
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding="ascii")
    sink.write(sink.phrase("{}", "né …"), stream)
    assert buffer.getvalue() == rb"n\xe9 \u2026"


def test_progress_is_drawn_on_standard_error_without_markup(capsys: pytest.CaptureFixture[str]) -> None:
    sink.error_console().print("[bold]x[/] :skull:")
    assert capsys.readouterr() == ("", "[bold]x[/] :skull:\n")


def test_values_read_as_policies_write_them() -> None:
    assert [sink.plain(v) for v in (True, 3, 0.25, "x", ("a", "b"), None, NOW)] == [
        "true",
        "3",
        "0.25",
        "x",
        "[a, b]",
        "–",
        "2026-03-04 05:06:07 UTC",
    ]
    with pytest.raises(TypeError, match="not shown to people"):
        sink.plain(object())


def test_a_report_is_either_judged_or_refused() -> None:
    with pytest.raises(ValueError, match="or a refusal"):
        replace(refused(), refusal=None)
    with pytest.raises(ValueError, match="or a refusal"):
        replace(report(), verdict=None)
    with pytest.raises(ValueError, match="only what passed"):
        replace(report("a", {"config.strict": False}), certificate=certificate(report()))


def test_the_isolation_level_is_named_wherever_something_ran() -> None:
    assert "isolation level: namespace" in terminal.certification(every_outcome(), tty=False)
    assert "isolation level: namespace" in STYLE.sub("", terminal.certification(every_outcome(), tty=True))
    assert "isolation" not in terminal.certification([refused("x", "y")], tty=True)
