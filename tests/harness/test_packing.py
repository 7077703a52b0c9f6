"""Choices as branches of one row: where that is what it should be, and what happens where it is not."""

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from harness.plain import plain_likelihood  # noqa: E402
from peft_assay_harness.engines import causal, engine_for  # noqa: E402
from peft_assay_harness.engines.batches import PADDING, PASS_TOKENS, batches  # noqa: E402
from peft_assay_harness.engines.interface import Row  # noqa: E402
from peft_assay_harness.engines.trees import MAX_TREE, grow  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

TOKENS = st.lists(st.integers(3, 299), min_size=1, max_size=12).map(tuple)
ROWS = st.lists(st.builds(Row, TOKENS, TOKENS), min_size=1, max_size=6)


@pytest.fixture(autouse=True)
def unseen(monkeypatch):
    monkeypatch.setattr(causal, "_seen", set())


@pytest.fixture(scope="module")
def counted():
    """Counts the passes and input tokens of a model, but for the first, which may be made in two ways (last_block)."""

    def count(engine):
        model, seen = engine.model, []
        engine.log_likelihoods([Row(tuple(range(10, 30)), (7,))])
        model.register_forward_pre_hook(lambda _, __, given: seen.append(given["input_ids"].numel()), with_kwargs=True)
        return seen

    return count


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "gemma3"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, again=st.lists(TOKENS, max_size=4))
def test_packed_is_plain(made, name, rows, again):
    engine = engine_for("causal-lm", *made(name))
    rows = rows + [Row(rows[0].context, tokens) for tokens in again]
    expected = [plain_likelihood(engine.model, row) for row in rows]
    assert engine.log_likelihoods(rows) == pytest.approx(expected, abs=1e-4)
    assert engine._packs


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
def test_a_context_is_read_once_and_the_same_row_computed_once(made, counted, name):
    engine = engine_for("causal-lm", *made(name))
    seen = counted(engine)
    context = tuple(range(10, 60))
    rows = [Row(context, (at, at + 1)) for at in range(100, 110)]
    engine.log_likelihoods(rows * 3)
    packed, verified = seen
    assert packed == len(context) + len(rows)
    assert verified == len(context) + 1
    seen.clear()
    engine.log_likelihoods(rows)
    assert seen == [packed]


class Deaf(torch.nn.Module):
    """Passes on everything but what it is told to ignore."""

    def __init__(self, model, ignored):
        super().__init__()
        self.inner, self.ignored = model, ignored
        self.calls = []

    def forward(self, **given):
        self.calls.append(set(given))
        if self.ignored == "raises" and "position_ids" in given:
            raise TypeError("no position_ids here")
        if self.ignored in given and not (self.ignored == "attention_mask" and given[self.ignored].dim() == 2):
            del given[self.ignored]
        return self.inner(**given)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)


@pytest.mark.parametrize("ignored", ["attention_mask", "position_ids", "raises"])
def test_a_model_that_packs_wrongly_is_found_out_and_asked_plainly_for_good(made, ignored):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", Deaf(model, ignored), tokenizer)
    rows = [Row((9, 8, 7), (at, at + 1, at + 2)) for at in range(20, 26)]
    expected = [plain_likelihood(model, row) for row in rows]
    assert engine.log_likelihoods(rows) == pytest.approx(expected, abs=1e-4)
    assert not engine._packs
    engine.model.calls.clear()
    assert engine.log_likelihoods(rows) == pytest.approx(expected, abs=1e-4)
    assert engine.model.calls
    assert all("position_ids" not in names for names in engine.model.calls)


def test_what_was_seen_of_a_kind_in_float32_is_not_tried_again_and_another_kind_is(made, adapted, counted):
    rows = [Row(tuple(range(10, 60)), (at, at + 1)) for at in range(100, 110)]

    def passes(kind, dtype=torch.float32):
        model, tokenizer = made("llama")
        engine = engine_for("causal-lm", adapted(model.to(dtype), kind), tokenizer)
        seen = counted(engine)
        engine.log_likelihoods(rows)
        return len(seen)

    assert passes("lora", torch.bfloat16) == passes("lora", torch.bfloat16) == 2, "half precision shows too little"
    assert (passes("lora"), passes("lora"), passes("lora", torch.bfloat16)) == (2, 1, 1)
    assert passes("dora") == 2
    assert len(causal._seen) == 2


def test_branches_that_nothing_stands_behind_show_nothing_of_a_kind(made):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", Deaf(model, "position_ids"), tokenizer)
    letters = [Row((9, 8, 7), (at,)) for at in range(20, 24)]
    last = [*letters, Row((9, 8, 7), (30, 31))]
    for rows in (letters, last):
        expected = [plain_likelihood(model, row) for row in rows]
        assert engine.log_likelihoods(rows) == pytest.approx(expected, abs=1e-4)
    assert not causal._seen
    assert engine._packs
    words = [Row((9, 8, 7), (at, at + 1, at + 2)) for at in range(40, 43)]
    assert engine.log_likelihoods(words) == pytest.approx([plain_likelihood(model, row) for row in words], abs=1e-4)
    assert not engine._packs


@pytest.mark.parametrize("kind", ["prefix", "prompt", "alora", "adaption"])
def test_types_that_look_at_more_than_the_mask_are_never_packed(made, adapted, kind):
    model, tokenizer = made("llama")
    assert not engine_for("causal-lm", adapted(model, kind), tokenizer)._packs


def test_rows_longer_than_a_sliding_window_are_not_packed(made, counted):
    engine = engine_for("causal-lm", *made("gemma3"))
    context = tuple(range(10, 40))
    rows = [Row(context, (at, at + 1)) for at in range(100, 104)]
    seen = counted(engine)
    expected = [plain_likelihood(engine.model, row) for row in rows]
    seen.clear()
    assert engine.log_likelihoods(rows) == pytest.approx(expected, abs=1e-4)
    assert sum(seen) == len(rows) * (len(context) + 1)


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 300)), max_size=40), st.booleans())
def test_batches_hold_every_item_once_and_little_padding(items, alike):
    groups = list(batches(items, lambda item: item[0], max, alike=alike))
    assert [item for group in groups for item in group] == sorted(items, key=lambda item: item[0])
    for group in groups:
        whole = len(group) * max(map(max, group))
        assert len(group) == 1 or (whole <= PASS_TOKENS and whole - sum(map(max, group)) <= PADDING)
        assert not alike or len({length for length, _ in group}) == 1


def test_items_of_one_length_go_together():
    assert [len(group) for group in batches([(100, 0)] * 12, lambda item: item[0], max)] == [5, 5, 2]


@given(rows=ROWS)
def test_trees_hold_every_row_once_and_stay_small(rows):
    trees = grow(list(dict.fromkeys(rows)))
    assert sorted(((tree.context, row) for tree in trees for row in tree.rows), key=str) == sorted(
        ((row.context, row) for row in set(rows)), key=str
    )


def test_many_branches_are_several_trees():
    rows = [Row((1, 2, 3), (at,) * 20) for at in range(400)]
    trees = grow(rows)
    assert len(trees) > 1
    assert all(tree.size <= MAX_TREE for tree in trees)
