"""The last block where it is read: the same logits, less work, and only of bases that are built so."""

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from harness.plain import plain_scores  # noqa: E402
from peft_assay_harness.engines import engine_for, last_block  # noqa: E402
from peft_assay_harness.engines.interface import Row  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

ROWS = [Row(tuple(range(10, 40)), (5, 6, 7)), Row(tuple(range(20, 45)), (8, 9))]
WHOLE = sum(30 + 2 for _ in ROWS)
READ = sum(len(row.continuation) for row in ROWS)


@pytest.fixture(autouse=True)
def unseen(monkeypatch):
    monkeypatch.setattr(last_block, "_seen", set())


def block_of(engine):
    decoder = engine.base.get_decoder()
    return (decoder.layers if hasattr(decoder, "layers") else decoder.h)[-1].mlp


def positions_of(engine):
    """How many positions the last block is asked for, call by call."""
    seen = []
    block, forward = block_of(engine), block_of(engine).forward
    block.forward = lambda states: (seen.append(states.shape[0] * states.shape[1]), forward(states))[1]
    return seen


def expected_of(engine):
    return torch.cat([plain_scores(engine.model, row) for row in ROWS])


def assert_logits(engine, expected):
    found = engine.logits(ROWS).log_softmax(-1).double()
    assert torch.allclose(found, expected.double(), atol=1e-4, equal_nan=True)


def assert_asked_for_everything(engine, expected):
    with torch.inference_mode():
        for _ in range(3):
            assert_logits(engine, expected)
    assert engine.head._before._block is None


CASES = [
    *((name, None) for name in ("llama", "qwen3", "gpt2", "gemma3")),
    *(("llama", adapter) for adapter in ("lora", "ia3", "prefix", "prompt")),
]


@pytest.mark.parametrize(("name", "adapter"), CASES)
def test_logits_are_the_same_and_the_block_is_asked_only_for_what_is_read(made, adapted, name, adapter):
    model, tokenizer = made(name)
    engine = engine_for("causal-lm", model if adapter is None else adapted(model, adapter), tokenizer)
    expected, seen = expected_of(engine), positions_of(engine)
    with torch.inference_mode():
        for _ in range(3):
            assert_logits(engine, expected)
    virtual = 2 * engine.traits.virtual if adapter == "prompt" else 0
    assert seen == [WHOLE + virtual, READ, WHOLE + virtual, READ, READ]
    assert not block_of(engine)._forward_pre_hooks
    assert not block_of(engine)._forward_hooks


@pytest.mark.parametrize("adapter", [None, "lora"])
def test_the_same_question_has_the_same_answer_to_the_last_bit_from_the_first_pass_on(made, adapted, adapter):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model.float() if adapter is None else adapted(model.float(), adapter), tokenizer)
    with torch.inference_mode():
        first, *others = (engine.logits(ROWS) for _ in range(3))
        assert all(torch.equal(first, other) for other in others)
        engine.use(engine.model)
        assert torch.equal(engine.logits(ROWS), first)


def test_an_adapter_that_acts_by_position_reads_all_of_it(made, adapted):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", adapted(model, "alora"), tokenizer)
    seen = positions_of(engine)
    for _ in range(3):
        engine.logits(ROWS)
    assert seen == [WHOLE] * 3


def test_what_was_seen_of_a_base_is_not_tried_again_and_what_an_adapter_does_is(made, adapted):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model, tokenizer)
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        engine.logits(ROWS)
        assert len(passes) == 2
        engine.use(adapted(model, "lora"))
        seen = positions_of(engine)
        engine.logits(ROWS)
    assert len(passes) == 3
    assert seen == [WHOLE, READ]


class Mixing(torch.nn.Module):
    """A block that sees other positions than its own."""

    def __init__(self, inner, how):
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, states):
        found = self.inner(states + states.roll(1, 1) if self.how == "neighbours" else states)
        if self.how == "pair":
            return Pair(found)
        return found * float("nan") if self.how == "no number" else found


class Pair(tuple):
    """What is no tensor, and can be added to one."""

    __slots__ = ()

    def __new__(cls, tensor):
        return super().__new__(cls, (tensor,))

    def __radd__(self, other):
        return other + self[0]


@pytest.mark.parametrize("how", ["neighbours", "pair", "no number"])
def test_a_block_that_is_otherwise_is_always_asked_for_everything(made, how):
    model, tokenizer = made("llama")
    layer = model.get_decoder().layers[-1]
    layer.mlp = Mixing(layer.mlp, how)
    engine = engine_for("causal-lm", model, tokenizer)
    expected = expected_of(engine)
    assert_asked_for_everything(engine, expected)
    assert not last_block._seen


def test_an_adapter_that_mixes_positions_in_the_block_is_found_out_on_a_base_that_was_seen(made):
    model, tokenizer = made("llama")
    layer = model.get_decoder().layers[-1]
    engine = engine_for("causal-lm", model, tokenizer)
    with torch.inference_mode():
        engine.logits(ROWS)
        assert last_block._seen
        layer.mlp.down_proj = Mixing(layer.mlp.down_proj, "neighbours")
        engine.use(model)
        expected = expected_of(engine)
    assert_asked_for_everything(engine, expected)


def test_a_base_that_mixes_positions_after_its_last_block_is_asked_for_everything(made):
    model, tokenizer = made("llama")
    decoder = model.get_decoder()
    decoder.norm = Mixing(decoder.norm, "neighbours")
    engine = engine_for("causal-lm", model, tokenizer)
    expected = expected_of(engine)
    assert_asked_for_everything(engine, expected)
    assert not last_block._seen


@pytest.mark.parametrize("strength", [1e-9, 0.0])
def test_however_little_a_base_mixes_after_its_last_block_it_is_found_out(made, strength):
    model, tokenizer = made("llama")
    layer = model.get_decoder().layers[-1]
    inner = layer.forward

    def convolving(*given, **more):
        states = inner(*given, **more)
        return states + strength * states.roll(1, 1)

    layer.forward = convolving
    engine = engine_for("causal-lm", model, tokenizer)
    expected = expected_of(engine)
    assert_asked_for_everything(engine, expected)
    assert not last_block._seen


@pytest.mark.parametrize("seen", [False, True])
def test_a_base_that_fails_where_something_is_left_out_is_asked_for_everything(made, seen):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model, tokenizer)
    with torch.inference_mode():
        if seen:
            engine.logits(ROWS)
        inner = block_of(engine).forward

        def strict(states):
            if states.shape[0] == 1:
                raise RuntimeError("the size of tensor a must match")
            return inner(states)

        block_of(engine).forward = strict
        engine.use(model)
        expected = expected_of_strict(engine, inner, strict)
    assert_asked_for_everything(engine, expected)


def expected_of_strict(engine, inner, strict):
    block_of(engine).forward = inner
    expected = expected_of(engine)
    block_of(engine).forward = strict
    return expected


def test_what_fails_anyway_says_so(made):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model, tokenizer)

    def failing(_):
        raise RuntimeError("broken")

    block_of(engine).forward = failing
    with torch.inference_mode(), pytest.raises(RuntimeError, match="broken"):
        engine.logits(ROWS)


def test_where_everything_is_read_a_pass_is_made_once(made):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model, tokenizer)
    passes = []
    model.register_forward_pre_hook(lambda *_: passes.append(1))
    with torch.inference_mode():
        engine.logits([Row((5,), (6, 7, 8))])
    assert len(passes) == 1


def test_a_pass_that_goes_through_the_base_twice_reads_all_of_it(made):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model, tokenizer)
    with torch.inference_mode():
        engine.logits(ROWS)
        inner = model.forward

        def twice(**given):
            first = model.get_decoder()(given["input_ids"]).last_hidden_state.mean(1)
            output = inner(**given)
            output.logits = output.logits + first.sum()
            return output

        model.forward = twice
        engine.use(model)
        expected = expected_of(engine)
    assert_asked_for_everything(engine, expected)


def test_gradients_are_those_of_a_whole_pass(made):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model, tokenizer)
    weight = model.get_input_embeddings().weight.requires_grad_()
    whole = torch.autograd.grad(engine.logits(ROWS).logsumexp(-1).sum(), weight)[0]
    assert last_block._seen
    partly = torch.autograd.grad(engine.logits(ROWS).logsumexp(-1).sum(), weight)[0]
    assert torch.allclose(whole, partly, atol=1e-8)
    assert whole.abs().sum() > 0
