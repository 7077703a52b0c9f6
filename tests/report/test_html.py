"""The HTML report: complete, self-contained, and inert whatever it is made of."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.evaluate_support import good_values
from peft_assay.core.display import Text, visible
from peft_assay.core.errors import UsageError
from peft_assay.core.verdict import Outcome
from peft_assay.report import sink
from peft_assay.report.html import render_html
from peft_assay.report.interface import CertificationReport, Sample
from report.report_support import SAMPLES, every_outcome, refused, report

VOID = {"meta", "line", "path", "circle", "br", "rect"}
MARKS = "<b id=x>\"'&</b><script>alert(1)</script>"
HOSTILE = [
    MARKS,
    "\x1b[2J\x1b[31mred\x07\x9b0m",
    "abc\u202egnp.exe\u2066 \u200b\ufeff",
    "{{ 7 * 7 }}{% raw %}",
    "]]>--></style></title></svg><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "line one\nline two\r\x00",
    "javascript:alert(1)",
]


class Page(HTMLParser):
    """Elements, attributes, text and whether the tags balance."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.style = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def by_class(self, name: str) -> list[tuple[str, dict[str, str | None]]]:
        return [(tag, attrs) for tag, attrs in self.elements if name in (attrs.get("class") or "").split()]


def page(*reports: CertificationReport) -> Page:
    parsed = Page(render_html(reports))
    assert parsed.open == []
    return parsed


def hostile_report(text: str) -> CertificationReport:
    """`text` in every place that an artifact, a suite, a model or a source can reach."""
    sample = Sample(text, text, text, text, text, text, adapter_passed=False)
    made = report(
        text,
        {"weights.undeclared": (text,), "rights.licence": text.replace("\x00", "")},
        {"config.strict": text, "suite.lookups.rate": text},
        source=text,
        paths=("adapter_config.json", text),
        samples=(sample,),
    )
    return replace(made, title=text, context=text, attestation={text: [text, {"deep": text}]}, verify_commands=(text,))


def test_absent_values_and_prepared_text_are_shown() -> None:
    assert sink.html(None) == "–"
    assert sink.html(Text("<\u202e>")) == "&lt;\\u202e&gt;"
    with pytest.raises(TypeError):
        sink.html({"a": 1})


def test_what_was_not_measured_is_not_said_to_be_tested() -> None:
    gone = {"scan.tokens": "x", "sandbox.level": "x", "suite.lookups.n": "x"}
    shown = page(report("a", None, gone))
    assert "declared tokens inserted" not in shown.text
    assert "start-up attacks showed" not in shown.text
    assert "cases of the suite lookups" not in shown.text
    assert "cases of the suite refusals" in shown.text


def test_adapter_and_base_stand_side_by_side() -> None:
    drift = {f"suite.refusals.{name}": 0.5 for name in ("kl_mean", "agreement", "first_divergence", "length_ratio")}
    shown = page(report("a", drift))
    assert "0.752 to 0.952" in shown.text
    assert "3 / 11" in shown.text
    assert "0.0574" in shown.text
    assert "0.5000" in shown.text
    assert "50.0%" in shown.text
    assert "Degenerate: answers that are empty" in shown.text


def test_what_does_not_apply_to_a_suite_is_no_problem_of_it() -> None:
    shown = page(report("a", None, {"suite.lookups.kl_mean": "only generated text is compared"}))
    assert "Not observed" not in shown.text


def test_without_suites_there_is_no_table() -> None:
    gone = {f"suite.{suite}.interval_low": "not loaded" for suite in ("lookups", "refusals", "support_task")}
    assert "Gains / losses" not in page(report("a", None, gone)).text


def test_nothing_to_report_is_not_a_report() -> None:
    with pytest.raises(UsageError, match="nothing to report"):
        render_html([])


def test_every_adapter_has_its_section_and_its_line_in_the_index() -> None:
    reports = every_outcome()
    shown = page(*reports)
    anchors = [attrs["href"] for tag, attrs in shown.elements if tag == "a"]
    sections = [attrs["id"] for tag, attrs in shown.elements if tag == "article"]
    assert anchors == [f"#{section}" for section in sections]
    assert len(sections) == len(reports)
    for made in reports:
        assert made.adapter in shown.text
        assert made.next_step in shown.text
        assert made.reason in shown.text


def test_one_adapter_needs_no_index() -> None:
    shown = page(report())
    assert not shown.by_class("index")
    assert "Admitted: every rule of the policy holds" in shown.text


def test_every_rule_is_shown_with_what_it_saw() -> None:
    made = report("regressed", {"suite.support_task.lower": 0.2964})
    shown = page(made)
    assert made.verdict is not None
    for result in made.verdict.results:
        assert result.rule in shown.text
        assert result.assertion in shown.text
        for name in result.saw:
            assert name in shown.text
    assert len(shown.by_class("decides")) == 1
    # Two rules fail here; only the first decides.
    both = report("a", {"weights.pickle_files": ("a.bin",), "weights.canonical": False})
    assert len(page(both).by_class("decides")) == 1
    assert "0.2964" in shown.text


def test_the_plots_draw_what_was_measured_against_the_thresholds() -> None:
    shown = page(report("regressed", {"suite.support_task.lower": 0.2964, "suite.support_task.rate": 0.3875}))
    assert "floor 0.7" in shown.text
    assert "margin -0.25" in shown.text
    rows = [attrs["class"] for tag, attrs in shown.elements if tag == "g"]
    assert rows == ["row met", "row met", "row unmet", "row met", "row met", "row met"]
    bars = [attrs for _, attrs in shown.by_class("bar")]
    assert len(bars) == 6
    for bar in bars:
        assert float(bar["x1"] or "") <= float(bar["x2"] or "")
    # The base's diamond is drawn once per suite, where its rate is known.
    assert len(shown.by_class("base")) == 3


def test_without_thresholds_nothing_is_coloured_by_them() -> None:
    shown = page(replace(report(), parameters=None))
    assert not shown.by_class("threshold")
    assert {attrs["class"] for tag, attrs in shown.elements if tag == "g"} == {"row plain"}


def test_what_was_not_observed_says_so() -> None:
    gone = {name: "the sandbox died" for name in good_values() if name.startswith("suite.lookups.")}
    shown = page(report("a", None, gone))
    assert "not observed" in shown.text
    assert "Not observed: lookups (the sandbox died)" in shown.text
    assert "no usable observation" in shown.text
    nothing = {name: "the sandbox died" for name in good_values() if name.startswith("suite.")}
    shown = page(report("a", None, nothing))
    assert "svg" not in shown.tags()
    assert "Not observed: lookups, refusals, support_task (the sandbox died)" in shown.text


def test_a_suite_that_stopped_early_says_so() -> None:
    shown = page(report("a", {"suite.support_task.complete": False}))
    assert "80 cases of the suite support_task, with and without the adapter; stopped early" in shown.text


def test_a_refused_source_has_a_reason_and_a_next_step_and_no_rules() -> None:
    shown = page(refused())
    assert "adapter_model.safetensors: a link leaves the folder" in shown.text
    assert "copy the files" in shown.text
    assert not shown.by_class("rules")


def test_samples_are_cut_and_the_rest_counted() -> None:
    shown = page(report(samples=SAMPLES * 20))
    assert "10 more are in the evidence" in shown.text


def test_the_certificate_is_shown_only_where_there_is_one() -> None:
    assert "valid until" in page(report()).text
    failing = page(report("a", {"config.strict": False}))
    assert "valid until" not in failing.text
    assert "none was issued" in failing.text


@pytest.mark.parametrize("made", every_outcome(), ids=lambda made: made.adapter)
def test_no_report_calls_anything_safe(made: CertificationReport) -> None:
    words = set(re.findall(r"[a-z]+", page(made).text.lower()))
    assert not words & {"safe", "secure", "trusted"}
    if made.outcome is not Outcome.REFUSED:
        assert "It does not say that the adapter is harmless." in page(made).text


def test_the_page_can_do_nothing_but_show_itself() -> None:
    shown = page(*every_outcome())
    assert not shown.tags() & {"script", "iframe", "object", "embed", "form", "link", "base", "img", "foreignobject"}
    for tag, attrs in shown.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        for name in ("href", "src", "xlink:href", "action"):
            assert (attrs.get(name) or "#").startswith("#")
    policies = [attrs["content"] for _, attrs in shown.elements if attrs.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(shown.style.encode()).digest()).decode()
    assert policies == [f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"]
    assert "url(" not in shown.style
    assert "@import" not in shown.style


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_changes_nothing_but_the_text(text: str) -> None:
    hostile, tame = page(hostile_report(text)), page(hostile_report("tame"))

    def shape(shown: Page) -> list[tuple[str, Any]]:
        return [(tag, sorted(set(attrs) - {"y", "y1", "y2", "d", "cy"})) for tag, attrs in shown.elements]

    assert shape(hostile) == shape(tame)
    rendered = render_html([hostile_report(text)])
    assert not [c for c in rendered if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
    assert not set(rendered) & set("\u202e\u202d\u2066\u2067\u2068\u2069\u200b\ufeff\u2028\u2029")
    assert "alert(1)" not in {attrs.get("onerror") for _, attrs in hostile.elements}


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_any_text_at_all_leaves_the_page_whole(text: str) -> None:
    shown = page(refused(text, text))
    assert not shown.tags() & {"script", "img", "iframe"}
    assert visible(text) in shown.text


def test_endless_text_and_lists_are_cut_for_people() -> None:
    names = tuple(f"tensor{index}" for index in range(5000))
    rendered = render_html([report("a", {"weights.undeclared": names}, {"config.strict": "x" * 200_000})])
    assert len(rendered) < 100_000
    assert "and 4980 more" in rendered


def test_hostile_text_can_still_be_read() -> None:
    shown = page(hostile_report(MARKS + "\x1b[31m\u202e"))
    assert MARKS + "\\x1b[31m\\u202e" in shown.text


def test_a_hostile_source_is_quoted_in_the_command_it_is_put_into() -> None:
    made = report("a", {"config.strict": False}, source="x; rm -rf ~")
    assert made.next_step == "see the fields at fault: peft-assay inspect 'x; rm -rf ~'"
