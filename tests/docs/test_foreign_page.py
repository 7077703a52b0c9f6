"""docs/foreign.md is what the rows and the last run of `make test-foreign` give, and each row can be run."""

from docs.docs_support import DOCS, ROOT, text_of
from foreign import environments, page
from foreign.rows import ROWS, Answer

FOREIGN = ROOT / "tests/foreign"


def test_the_page_is_what_the_rows_give():
    assert text_of(DOCS / "foreign.md") == page.page(page.known())


def test_every_row_has_its_script_and_its_pins_and_none_is_left_over():
    assert {row.environment for row in ROWS} == set(environments.names())
    scripts = {path.stem for path in (FOREIGN / "writers").glob("*.py")} - {"written"}
    assert {row.writer for row in ROWS} == scripts
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_every_version_is_pinned_exactly():
    for path in sorted((FOREIGN / "requirements").glob("*.txt")):
        lines = path.read_text("utf-8").split()
        assert lines
        assert all("==" in line for line in lines), path.name
        assert path.stem == environments.TORCH or any(
            line.endswith(f"=={path.stem.rpartition('-')[2]}") for line in lines
        )


def test_what_the_lane_has_seen_are_rows():
    """What a run has not seen answered as its row says is in no table."""
    assert set(page.known()) <= {row.id for row in ROWS}
    assert page.known()


def test_each_refusal_says_why():
    assert [row.id for row in ROWS if row.answer is not Answer.CERTIFIED and not row.says] == []
