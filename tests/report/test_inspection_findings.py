"""From observations to findings: weights, places, one cause told once, and no name of the vocabulary left silent."""

import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.evaluate_support import default_policy
from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.observation import Observation, ObservedBy, Status, Value, failed, ok, sort_observations
from peft_assay.core.vocabulary import STATIC_TERMS, Kind
from peft_assay.observe.catalogue import PROBES
from peft_assay.report.inspection import inspection
from peft_assay.report.inspection_findings import KIND, Examination, examine
from peft_assay.report.inspection_rules import CHECKS, Suspect, check_for
from peft_assay.report.interface import Declared, Finding, InspectionReport, Severity, Spot
from report.report_support import artifact

BY = ObservedBy.INTAKE
OBSERVED = {term for probe in PROBES for term in probe.terms}
PAGES = {term: probe.id for probe in PROBES for term in probe.terms}
FILES = (CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, "training_args.bin")


def report(*observations: Observation, declared: Declared | None = None, obstacle: str = "") -> InspectionReport:
    return InspectionReport(
        source="adapters/odd one",
        kind="a PEFT adapter",
        artifact=artifact(*FILES),
        observations=sort_observations(observations),
        declared=declared or Declared(peft_type="LORA", base="org/base"),
        obstacle=obstacle,
        remedy="fetch it" if obstacle else "",
        pages=PAGES,
    )


def only(found: Examination) -> Finding:
    assert len(found.findings) == 1, found.findings
    return found.findings[0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("delta.zero_modules", ("a", "b"), "(2 of 32 modules)"),
        ("delta.zero_modules", tuple(map(str, range(32))), "(all 32 modules)"),
        ("weights.nonfinite", 1, "(1 of 64 tensors)"),
        ("weights.undeclared", ("lm_head.weight",), "(1 of 64 tensors)"),
    ],
)
def test_a_finding_says_how_much_of_the_adapter_it_is_about(name, value, said):
    of = Declared(peft_type="LORA", base="org/base", tensors=64, modules=32)
    assert only(examine(report(ok(name, value, by=BY), declared=of))).message.endswith(said)
    unknown = only(examine(report(ok(name, value, by=BY))))
    assert " of " not in unknown.message.partition("(")[2]


@pytest.mark.parametrize(
    ("name", "value", "severity", "spots"),
    [
        ("weights.pickle_files", ("training_args.bin",), Severity.BLOCK, (Spot("training_args.bin"),)),
        ("weights.canonical", False, Severity.BLOCK, (Spot(WEIGHTS_FILE),)),
        ("weights.nonfinite", 2, Severity.BLOCK, (Spot(WEIGHTS_FILE),)),
        ("weights.undeclared", ("lm_head.weight",), Severity.BLOCK, (Spot(WEIGHTS_FILE, "lm_head.weight"),)),
        ("config.redirects", ("auto_mapping",), Severity.BLOCK, (Spot(CONFIG_FILE, "auto_mapping"),)),
        ("bounds.exceeded", ("r: 9 is not in 1..8",), Severity.BLOCK, (Spot(CONFIG_FILE, "r: 9 is not in 1..8"),)),
        ("artifact.unexpected_files", (CARD_FILE,), Severity.LOOK, (Spot(CARD_FILE),)),
        ("rights.licence_commercial", False, Severity.LOOK, (Spot(CARD_FILE),)),
    ],
)
def test_a_finding_has_weight_place_rule_and_next_step(
    name: str, value: Value, severity: Severity, spots: tuple[Spot, ...]
) -> None:
    finding = only(examine(report(ok(name, value, by=BY))))
    assert (finding.rule, finding.severity, finding.spots) == (name, severity, spots)
    assert finding.message
    assert finding.next_step
    assert "{" not in finding.next_step


@pytest.mark.parametrize(
    ("name", "value"),
    [("weights.pickle_files", ()), ("weights.canonical", True), ("weights.nonfinite", 0), ("config.redirects", ())],
)
def test_what_is_in_order_is_counted_and_not_told(name: str, value: Value) -> None:
    found = examine(report(ok(name, value, by=BY)))
    assert found.findings == ()
    assert found.clean == (name,)


def test_a_place_inside_a_file_is_taken_from_the_item() -> None:
    finding = only(examine(report(ok("artifact.companions", (f"{CARD_FILE}: code", "gone.py: code"), by=BY))))
    assert finding.spots == (Spot(CARD_FILE, "code"), Spot("", "gone.py: code"))


def test_one_cause_is_told_once() -> None:
    reason = "there is no adapter_model.safetensors"
    found = examine(
        report(
            ok("weights.canonical", value=False, by=BY, reason=reason),
            failed("weights.nonfinite", f"nonfinite: {reason}", by=BY),
            failed("delta.zero_modules", f"delta: {reason}", by=BY),
        )
    )
    finding = only(found)
    assert finding.rule == "weights.canonical"
    assert set(finding.implied) == {"weights.nonfinite", "delta.zero_modules"}


def test_what_only_a_project_can_answer_is_not_held_against_the_adapter() -> None:
    register = failed("rights.datasets_commercial", "dataset 'a/b' is not in the context's register", by=BY)
    base = failed("rights.base_licence_commercial", "the context declares no licence of the base", by=BY)
    found = examine(report(register, base, declared=Declared(peft_type="LORA", datasets=("a/b",))))
    assert found.findings == ()
    assert set(found.left_out) == {"rights.base_licence_commercial", "rights.datasets_commercial"}
    nobody_said = examine(report(failed("rights.datasets_commercial", "rights: no datasets declared", by=BY)))
    assert only(nobody_said).severity is Severity.UNSTATED


def test_a_source_that_is_no_adapter_says_so_first_and_takes_what_follows_with_it() -> None:
    found = examine(
        report(
            ok("weights.pickle_files", ("training_args.bin",), by=BY),
            ok("config.strict", value=False, by=BY, reason="not PEFT's"),
            failed("bounds.exceeded", "bounds: not PEFT's", by=BY),
            declared=Declared(),
            obstacle="an MLX adapter: PEFT does not read it",
        )
    )
    assert [finding.rule for finding in found.findings] == [KIND, "weights.pickle_files"]
    assert found.findings[0].implied == ("bounds.exceeded", "config.strict")
    assert found.findings[0].next_step == "fetch it"


def test_codes_of_one_list_weigh_differently() -> None:
    claims = ok("base.claims", ("no-revision: any version", "local-path: /home/x"), by=BY)
    found = examine(report(claims))
    assert {finding.severity: [spot.field for spot in finding.spots] for finding in found.findings} == {
        Severity.LOOK: ["local-path: /home/x"],
        Severity.UNSTATED: ["no-revision: any version"],
    }
    assert examine(report(ok("card.gaps", ("no-licence: license is not declared",), by=BY))).findings == ()


def test_the_heaviest_decides_what_is_reached() -> None:
    look = examine(report(ok("artifact.unexpected_files", (CARD_FILE,), by=BY)))
    assert look.reaches(Severity.LOOK)
    assert not look.reaches(Severity.BLOCK)
    assert not examine(report()).reaches(Severity.UNSTATED)


def bad_value(kind: Kind, *, suspect: Suspect) -> Value:
    return {
        Kind.BOOL: suspect is Suspect.TRUE, Kind.INT: 1, Kind.DOUBLE: 1.0, Kind.STRING: "x", Kind.STRINGS: ("x",),
    }[kind]  # fmt: skip


@pytest.mark.parametrize("term", [t for t in STATIC_TERMS if t.name in OBSERVED], ids=lambda t: t.name)
def test_every_name_that_probes_give_has_words(term: object) -> None:
    assert hasattr(term, "name")
    name, kind = term.name, term.kind  # type: ignore[attr-defined]
    value = bad_value(kind, suspect=check_for(name, None).suspect)
    check = check_for(name, value)
    if check.suspect is Suspect.OVER:
        assert examine(report(ok(name, check.most, by=BY))).findings == ()
        value = check.most + 0.1
    found = examine(report(ok(name, value, by=BY)))
    if check.suspect is Suspect.NEVER or check.asks_project:
        assert found.findings == ()
    else:
        assert only(found).message
        assert only(found).next_step


def test_the_table_names_only_what_probes_give() -> None:
    assert sorted(set(CHECKS) - OBSERVED) == []


def test_blocking_is_what_the_default_policy_refuses_before_loading_anything() -> None:
    rules = default_policy().policy.rules
    asserted = {name for rule in rules for name in re.findall(r"[a-z]+\.[a-z_]+", rule.assertion)} & OBSERVED
    blocking = {name for name, check in CHECKS.items() if check.severity is Severity.BLOCK}
    # Each decides whether a rule applies, or is asked only then: where lengths are declared, where tokens are added.
    guards = {"stack.locked", "prompt.room", "tokenizer.added", "tokenizer.differences"}
    asks_project = ("rights.", "withdrawn.", "context.")  # what a project declared or its authority withdrew
    assert blocking == {name for name in asserted - guards if not name.startswith(asks_project)}


@pytest.mark.parametrize(
    ("value", "told"),
    [(("x",), True), ((), False), (False, True), (True, False), (3, False), (0.5, False), ("text", False)],
)
def test_a_name_nobody_has_words_for_yet_is_judged_by_its_type(value: Value, told: bool) -> None:
    found = examine(report(ok("novel.term", value, by=BY)))
    assert bool(found.findings) is told
    if told:
        assert only(found).severity is Severity.LOOK


def test_a_name_nobody_has_words_for_yet_shows_that_it_failed() -> None:
    finding = only(examine(report(failed("novel.term", "the probe broke: KeyError", by=BY))))
    assert finding.severity is Severity.LOOK
    assert "the probe broke" in finding.message


STATUS = st.sampled_from(Status)


@given(st.dictionaries(st.sampled_from(sorted(OBSERVED)), st.tuples(STATUS, st.text(max_size=20)), max_size=12))
def test_nothing_is_told_twice_or_lost(chosen: Mapping[str, tuple[Status, str]]) -> None:
    kinds = {term.name: term.kind for term in STATIC_TERMS}
    made = []
    for name, (status, text) in chosen.items():
        value = bad_value(kinds[name], suspect=Suspect.FALSE) if status is Status.OK else None
        made.append(Observation(name, status, value, BY, text or None))
    found = examine(report(*made))
    told = [finding.rule for finding in found.findings] + [n for f in found.findings for n in f.implied]
    assert len(told) == len(set(told))
    groups = [set(told), set(found.clean), set(found.left_out)]
    assert sum(map(len, groups)) == len(set.union(*groups))
    failures = {name for name, (status, _) in chosen.items() if status is Status.FAILED}
    assert failures <= set(told) | set(found.left_out)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_screen_shows_the_groups_in_order_and_nothing_wider(width: int) -> None:
    made = report(
        ok("weights.pickle_files", ("training_args.bin",), by=BY),
        ok("artifact.unexpected_files", tuple(f"{at}" * 50 for at in range(30)), by=BY),
        failed("rights.licence", "rights: the model card declares no licence", by=BY),
        ok("config.strict", value=True, by=BY),
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", inspection([made], tty=True, width=width))
    assert max(map(len, text.splitlines())) <= width
    headings = [line.strip() for line in text.splitlines() if line.strip() in {"blocks", "look at", "not stated"}]
    assert headings == ["blocks", "look at", "not stated"]
    flat = " ".join(text.split())
    assert flat.startswith("adapters/odd one: a PEFT adapter: LORA for base org/base;")
    assert "and 24 more" in flat
    assert "nothing suspicious found in 1 other check;" in flat


def test_a_pipe_gets_whole_lines() -> None:
    made = report(ok("config.redirects", ("auto_mapping",), by=BY))
    first, *rest = inspection([made], tty=False).splitlines()
    assert re.fullmatch(r"adapters/odd one: a PEFT adapter: LORA for base org/base; 4 files, [\d,]+ bytes", first)
    assert rest == [
        f"  artifact {made.artifact.digest}",
        "  blocks",
        "    config.redirects: fields that make a loader fetch, import or open something that is not in the adapter",
        "      adapter_config.json: auto_mapping",
        "      next: remove them: serving does not need them; only an X-LoRA needs its adapters, which are examined each by itself",
        "  no check could say that anything is in order",
    ]
