"""Answers that are none: empty, the same again and again, without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.observe.behaviour.answers import Answer, SuiteRecord
from peft_assay.observe.behaviour.endings import REPEATS, end_tokens, fault, has_ended, is_loop

END = 1
BLOCKS = st.lists(st.integers(2, 9), min_size=1, max_size=6)


@given(BLOCKS, st.integers(REPEATS, 9), st.lists(st.integers(2, 9), max_size=3))
def test_a_block_again_and_again_is_a_loop(block, times, before):
    assert is_loop([*before, *(block * times)]) or len(before) > len(block) * times


@given(st.lists(st.integers(), unique=True, max_size=60))
def test_what_repeats_nothing_is_no_loop(tokens):
    assert not is_loop(tokens)


@pytest.mark.parametrize(
    ("tokens", "loop"),
    [
        ([], False),
        ([5, 5, 5], False),
        ([5, 5, 5, 5], True),
        ([5, 6, 5, 6, 5, 6], False),
        ([5, 6, 5, 6, 5, 6, 5, 6], True),
        ([9, 5, 6, 5, 6, 5, 6, 5, 6, 5], True),
        ([5, 5, 5, 5, 6], False),
        ([*range(2, 40), 5, 5, 5, 5], False),
    ],
)
def test_where_the_line_is(tokens, loop):
    assert is_loop(tokens) is loop


def answer(text="fine", tokens=(2, 3, END)):
    return Answer(text, tuple(tokens), case="c")


def test_an_end_is_what_the_base_ends_with():
    base = SuiteRecord("s", (answer(), answer(tokens=(2, 3, 4, 5)), answer(tokens=())), complete=True)
    assert end_tokens(base, 4) == {END}
    assert has_ended(answer(tokens=(2, 3, 4, END)), 4, frozenset({END}))
    assert not has_ended(answer(tokens=(2, 3, 4, 5)), 4, frozenset({END}))
    assert has_ended(answer(tokens=()), 4, frozenset({END}))


@pytest.mark.parametrize(
    ("given_answer", "found"),
    [
        (answer(), None),
        (answer(text=" \n"), "empty"),
        (answer(text="", tokens=()), "empty"),
        (answer(tokens=(5, 5, 5, 5, END)), "loop"),
        (answer(tokens=range(2, 10)), "cut"),
    ],
)
def test_each_fault_has_its_name(given_answer, found):
    assert fault(given_answer, 8, frozenset({END})) == found
