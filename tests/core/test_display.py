"""Hostile text made visible, on each surface."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.core.display import Text, visible

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)  # lone surrogates included
HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"


def shows_everything(rendered):
    return all(c == " " or unicodedata.category(c) not in HIDDEN for c in rendered)


@given(ANY_TEXT)
def test_no_control_format_or_bidi_character_survives_on_any_surface(raw):
    text = Text(raw)
    for rendered in (text.terminal(), text.html(), text.markdown(), str(text), visible(raw)):
        assert shows_everything(rendered)
        assert not set(rendered) & set(BIDI)
        rendered.encode("utf-8")


@given(ANY_TEXT)
def test_html_holds_no_markup_and_cannot_leave_an_attribute(raw):
    rendered = Text(raw).html()
    assert not set(rendered) & set("<>\"'")
    assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt|quot|#x27);)*", rendered)


@given(ANY_TEXT)
def test_markdown_leaves_no_active_character_unescaped(raw):
    rest = re.sub(r"\\[\\`*_{}\[\]()#+\-.!|<>~&]", "", Text(raw).markdown())
    assert not set(rest) & set("`*_{}[]()#<>|~&\\")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60))
def test_printable_ascii_is_left_alone_on_a_terminal(raw):
    assert visible(raw) == raw


@given(ANY_TEXT, st.integers(0, 30))
def test_a_limit_is_kept_and_says_that_it_cut(raw, limit):
    whole, cut = visible(raw), visible(raw, limit=limit)
    assert len(cut) <= max(limit, 1)
    assert cut == whole if len(whole) <= limit else cut.endswith("…")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("user\u202enimda", "user\\u202enimda"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
        ("no\u00a0break", "no\\xa0break"),
        ("filler\u3164", "filler\\u3164"),
        ("vs\ufe0f\U000e0100", "vs\\ufe0f\\U000e0100"),
        ("\u2800", "\\u2800"),
        ("Grüße, 世界 é 🙂", "Grüße, 世界 é 🙂"),
    ],
)
def test_what_would_not_be_seen_is_shown_as_its_code_point(raw, shown):
    assert visible(raw) == shown


def test_str_never_gives_the_raw_text():
    raw = Text("a\x1bb")
    assert f"{raw}" == "a\\x1bb"
    assert "<b>" not in Text("<b>").html()
