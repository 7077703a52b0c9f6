"""What pages point at exists: links, files, commands, options, tests."""

import re

import pytest

from docs.docs_support import DOCS, PAGES, ROOT, blocks, name_of, prose, text_of
from peft_assay.cli.main import app

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"peft-assay (?:-\S+ )?([a-z]+)")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]+)")


def commands():
    groups = {group.name for group in app.registered_groups}
    return groups | {command.callback.__name__ for command in app.registered_commands}


def options():
    return set(re.findall(r"(--[a-z][a-z-]+)", text_of(DOCS / "reference" / "cli.md"))) | {"--version", "--help"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page):
    targets = [link.split("#")[0] for link in _LINK.findall(prose(page)) if not re.match(r"[a-z]+:", link)]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


def test_every_page_can_be_reached_from_the_index():
    seen, new = set(), {DOCS / "index.md"}
    while new:
        page = new.pop()
        seen.add(page)
        for link in _LINK.findall(prose(page)):
            target = (page.parent / link.split("#")[0]).resolve()
            if target.suffix == ".md" and target.is_file() and target not in seen:
                new.add(target)
    assert [name_of(page) for page in DOCS.rglob("*.md") if page not in seen] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_that_a_reader_is_told_to_type_exist(page):
    typed = [
        line for block in blocks(page, "console") for line in block.splitlines() if line.startswith("$ peft-assay")
    ]
    typed += [code for code in re.findall(r"`([^`\n]+)`", prose(page)) if code.startswith("peft-assay ")]
    for line in typed:
        assert set(_COMMAND.findall(line)) <= commands(), line
        assert set(_OPTION.findall(line)) <= options(), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_of_this_repository_that_are_named_exist(page):
    named = re.findall(r"`((?:src|tests|tools|examples)/[\w./-]+)`", prose(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_each_attack_of_the_threat_model_names_a_test():
    rows = [line for line in text_of(DOCS / "threat-model.md").splitlines() if line.startswith("| ")]
    attacks = [row for row in rows if "`tests/" in row]
    assert len(attacks) >= 25
    assert all(row.rstrip("| ").endswith("`") for row in attacks)


def test_decisions_are_numbered_without_gaps_and_fit_on_a_page():
    records = sorted((DOCS / "adr").glob("0*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for record in records:
        text = text_of(record)
        assert [part for part in ("## Context", "## Decision", "## Consequences") if part not in text] == []
        assert len(text.splitlines()) <= 60, record.name
        assert f"({record.name})" in text_of(DOCS / "adr" / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_carry_no_traces_of_the_machine_they_were_written_on(page):
    assert re.findall(r"/(?:work|root|tmp)/|\x1b|\t", text_of(page)) == []


def test_pages_that_the_code_names_exist():
    named = {
        match
        for source in (ROOT / "src").rglob("*.py")
        for match in re.findall(r"\bdocs/[\w/-]+\.md", source.read_text("utf-8"))
    }
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).is_file()] == []


def test_the_first_page_is_short():
    text = text_of(ROOT / "README.md")
    assert len(text.split()) < 700
    assert "| `make test` |" in text_of(ROOT / "CONTRIBUTING.md")
