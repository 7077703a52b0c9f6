"""Laws of the engines for language models: what they answer is what PEFT answers for one text at a time."""

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from harness.plain import plain_answer, plain_likelihood, plain_scores  # noqa: E402
from peft_assay_harness.engines import engine_for  # noqa: E402
from peft_assay_harness.engines.batches import PASS_TOKENS  # noqa: E402
from peft_assay_harness.engines.interface import Draft, Row, Sampling, Unanswerable  # noqa: E402
from sandbox.architectures import PROMPTS  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

CAUSAL = ("llama", "qwen3", "gemma3", "gpt2", "bert-decoder")
BASES = (*CAUSAL, "t5")
ADAPTERS = ("lora", "dora", "alora", "ia3", "adaption", "prefix", "prompt")
LONG = ("a fox jumps", "hello", "the router costs 12 and more than that")
LIMIT = 8


@pytest.fixture
def engine_on(made, adapted):
    """An engine on a small base, with or without an adapter of some type."""

    def on(name, adapter=None, **options):
        seq2seq = name == "t5"
        model, tokenizer = made(name, "AutoModelForSeq2SeqLM" if seq2seq else "AutoModelForCausalLM")
        if adapter is not None:
            model = adapted(model, adapter, "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM")
        return engine_for("seq2seq-lm" if seq2seq else "causal-lm", model, tokenizer, **options)

    return on


def every_case():
    yield from ((name, None) for name in BASES)
    yield from ((name, "lora") for name in BASES)
    yield from (("llama", adapter) for adapter in ADAPTERS[1:])
    yield from (("t5", adapter) for adapter in ("prefix", "prompt"))


CASES = tuple(every_case())


def start_of(engine):
    return 0 if engine.task == "seq2seq-lm" else None


@pytest.mark.parametrize(("name", "adapter"), CASES)
def test_choices_are_those_of_each_row_alone(engine_on, name, adapter):
    engine = engine_on(name, adapter)
    rows = [engine.row(prompt, choice) for prompt in PROMPTS for choice in LONG]
    found = engine.log_likelihoods(rows)
    assert found == pytest.approx([plain_likelihood(engine.model, row, start_of(engine)) for row in rows], abs=1e-4)
    assert engine.log_likelihoods(rows[::-1]) == pytest.approx(found[::-1], abs=1e-4)
    assert engine.log_likelihoods(rows[:1] * 3) == pytest.approx(found[:1] * 3, abs=1e-4)


@pytest.mark.parametrize(("name", "adapter"), CASES)
def test_drafts_change_no_answer(engine_on, name, adapter):
    engine = engine_on(name, adapter)
    prompts = [engine.encode(prompt) for prompt in PROMPTS]
    plain = [plain_answer(engine.model, tokens, LIMIT, encoder=name == "t5") for tokens in prompts]
    assert engine.generate(prompts, LIMIT)[0] == plain
    for drafts in (
        plain,
        [answer[:at] for at, answer in enumerate(plain)],
        [(*answer[: at + 1], 7, 9, 11) for at, answer in enumerate(plain)],
        [(*answer, 1, 4) for answer in plain],
        [(), *plain[1:3], (9,), (9, 9)],
    ):
        shown = [Draft(draft, [[3, 5]] * len(draft)) for draft in drafts]
        answers, traces, _ = engine.generate(prompts, LIMIT, [*shown[:-1], None])
        assert answers == plain
        assert traces[-1] is None
        for prompt, draft, trace in zip(prompts[:-1], drafts[:-1], traces[:-1], strict=True):
            expected = (
                plain_scores(engine.model, Row(prompt, draft), start_of(engine)) if draft else torch.zeros(0, 400)
            )
            assert trace["best"] == expected.argmax(-1).tolist()
            assert trace["chosen"] == pytest.approx([float(expected[i, t]) for i, t in enumerate(draft)], abs=1e-4)
            assert trace["entropy"] == pytest.approx((-(expected.exp() * expected).sum(-1)).tolist(), abs=1e-3)
            assert trace["ids"] == [[3, 5]] * len(draft)
            for at, values in enumerate(trace["logProbabilities"]):
                assert values == pytest.approx(expected[at, [3, 5]].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "adapter"), [("llama", None), ("llama", "prefix"), ("gpt2", "lora"), ("gemma3", None)]
)
def test_answers_read_in_several_passes_are_those_of_each_prompt_alone(engine_on, name, adapter):
    engine = engine_on(name, adapter)
    words = ["hello", "how", "do", "i", "reset", "my", "router", "hold", "the", "button"]
    prompts = [engine.encode(" ".join((words * 9)[at : at + 10 + at % 40])) for at in range(48)]
    assert sum(map(len, prompts)) > PASS_TOKENS
    alone = [engine.generate([prompt], LIMIT).tokens[0] for prompt in prompts]
    drafts = [Draft((*answer[: at % 9], 9), [[1]] * (min(at % 9, len(answer)) + 1)) for at, answer in enumerate(alone)]
    answers, traces, _ = engine.generate(prompts, LIMIT, drafts)
    assert engine.generate(prompts, LIMIT)[0] == answers == alone
    assert [len(trace["best"]) for trace in traces] == [len(draft.tokens) for draft in drafts]
    assert engine.joinable == (name != "gemma3")


@pytest.mark.parametrize("name", ["llama", "gemma3", "t5"])
def test_an_answer_ends_where_it_ends(engine_on, name):
    engine = engine_on(name)
    prompt = engine.encode(PROMPTS[2])
    answer = engine.generate([prompt], LIMIT)[0][0]
    end = answer[3]
    until = answer[: answer.index(end) + 1]
    engine.ends = frozenset([end])
    others = [engine.encode(prompt) for prompt in PROMPTS]
    assert engine.generate([prompt], LIMIT)[0] == [until]
    for draft in (answer, until, until[:-1], (*until, 5, 6)):
        answers, *_ = engine.generate(
            [*others, prompt], LIMIT, [None] * len(others) + [Draft(draft, [[1]] * len(draft))]
        )
        assert answers[-1] == until


@pytest.mark.parametrize(
    ("name", "adapter"), [*((name, None) for name in BASES), ("llama", "prefix"), ("t5", "prefix")]
)
def test_notes_on_an_answer_are_what_a_trace_of_it_says(engine_on, name, adapter):
    engine = engine_on(name, adapter)
    prompts = [engine.encode(prompt) for prompt in PROMPTS]
    noted = engine.generate(prompts, LIMIT, top=4)
    scores = [
        plain_scores(engine.model, Row(prompt, answer), start_of(engine))
        for prompt, answer in zip(prompts, noted.tokens, strict=True)
    ]
    for answer, trace, expected in zip(noted.tokens, noted.traces, scores, strict=True):
        assert trace["best"] == list(answer)
        assert trace["ids"] == expected.topk(4).indices.tolist()
        assert trace["chosen"] == pytest.approx(expected.max(-1).values.tolist(), abs=1e-4)
        assert trace["entropy"] == pytest.approx((-(expected.exp() * expected).sum(-1)).tolist(), abs=1e-3)
        for values, wanted in zip(trace["logProbabilities"], expected.topk(4).values.tolist(), strict=True):
            assert values == pytest.approx(wanted, abs=1e-4)
    leads = [(best := expected.topk(2).values)[:, 0] - best[:, 1] for expected in scores]
    least = [float(lead.min()) for lead in leads]
    assert [min(each) for each in noted.leads] == pytest.approx(least, abs=1e-4)
    for length in (1, 3, LIMIT):
        drafts = [Draft((*answer[:length], 7), [[1]] * (len(answer[:length]) + 1)) for answer in noted.tokens]
        leads = engine.generate(prompts, LIMIT, drafts).leads
        assert [min(each) for each in leads] == pytest.approx(least, abs=1e-4)


@pytest.mark.parametrize("name", BASES)
def test_a_trace_names_the_likeliest_tokens_in_order(engine_on, name):
    engine = engine_on(name, "lora")
    rows = [engine.row(prompt, [5, 9, 7]) for prompt in PROMPTS]
    for row, trace in zip(rows, engine.traces(rows, [None] * len(rows), 4), strict=True):
        expected = plain_scores(engine.model, row, start_of(engine)).topk(4)
        assert trace["ids"] == expected.indices.tolist()
        assert trace["best"] == [ids[0] for ids in trace["ids"]]
        for values, wanted in zip(trace["logProbabilities"], expected.values.tolist(), strict=True):
            assert values == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize(("name", "adapter"), [("llama", None), ("llama", "alora"), ("llama", "prefix"), ("gemma3", None), ("t5", None)])  # fmt: skip
def test_what_is_drawn_depends_on_seed_and_prompt_only(engine_on, name, adapter):
    engine = engine_on(name, adapter)
    prompts = [engine.encode(prompt) for prompt in PROMPTS]
    sampling = Sampling(1.5, 0.95, 7)
    together, *_ = engine.generate(prompts, LIMIT, sampling=sampling)
    assert [engine.generate([prompt], LIMIT, sampling=sampling)[0][0] for prompt in prompts] == together
    draft = Draft(together[0], [[1]] * len(together[0]))
    answers, traces, _ = engine.generate(prompts[::-1], LIMIT, [None] * 4 + [draft], sampling)
    assert answers == together[::-1]
    assert traces[:4] == [None] * 4
    assert len(traces[4]["chosen"]) == len(together[0])
    assert engine.generate(prompts, LIMIT, sampling=Sampling(1.5, 0.95, 8))[0] != together
    greedy = engine.generate(prompts, LIMIT)[0]
    assert engine.generate(prompts, LIMIT, sampling=Sampling(0.0, 0.95, 7))[0] == greedy
    assert engine.generate(prompts, LIMIT, sampling=Sampling(1.5, 1e-9, 7))[0] == greedy


@pytest.mark.parametrize(("name", "adapter"), [("llama", None), ("llama", "prefix"), ("t5", None)])
def test_a_repetition_penalty_is_transformers_own(engine_on, name, adapter):
    engine = engine_on(name, adapter)
    prompts = [engine.encode(prompt) for prompt in PROMPTS[:3]]
    for penalty in (1.3, 0.8):
        given = engine.generate(prompts, LIMIT, sampling=Sampling(0.0, 1.0, 7, repetition_penalty=penalty))[0]
        for prompt, answer in zip(prompts, given, strict=True):
            with torch.inference_mode():
                own = engine.model.generate(
                    input_ids=torch.tensor([prompt]), attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
                    do_sample=False, num_beams=1, repetition_penalty=penalty, max_new_tokens=LIMIT,
                )[0].tolist()  # fmt: skip
            assert list(answer) == own[-len(answer) :]
    assert engine.generate(prompts, LIMIT, sampling=Sampling(0.0, 1.0, 7))[0] == engine.generate(prompts, LIMIT)[0]


@pytest.mark.parametrize("limits", [{"top_k": 3}, {"min_p": 0.6}, {"top_k": 5, "min_p": 0.3}, {"top_k": 400}])
def test_only_tokens_that_transformers_keeps_are_drawn(engine_on, limits):
    from transformers import LogitsProcessorList, MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper

    engine = engine_on("llama")
    prompt = engine.encode(PROMPTS[0])
    scores = plain_scores(engine.model, Row(prompt, (5,)))[:1]
    warpers = LogitsProcessorList([TemperatureLogitsWarper(1.5)])
    if "top_k" in limits:
        warpers.append(TopKLogitsWarper(limits["top_k"]))
    if "min_p" in limits:
        warpers.append(MinPLogitsWarper(limits["min_p"]))
    kept = set(warpers(torch.tensor([prompt]), scores)[0].isfinite().nonzero()[:, 0].tolist())
    drawn = {engine.generate([prompt], 1, sampling=Sampling(1.5, 1.0, s, **limits))[0][0][0] for s in range(60)}
    assert drawn <= kept


@pytest.mark.parametrize("name", ["llama", "gemma3", "t5"])
def test_the_same_prompt_again_is_another_draw(engine_on, name):
    engine = engine_on(name)
    first, second = (engine.encode(prompt) for prompt in PROMPTS[:2])
    sampling = Sampling(1.5, 1.0, 7)
    drawn, *_ = engine.generate([first, second, first, first], LIMIT, sampling=sampling)
    assert len({drawn[0], drawn[2], drawn[3]}) == 3
    assert engine.generate([first] * 3, LIMIT, sampling=sampling)[0] == [drawn[0], drawn[2], drawn[3]]
    assert engine.generate([first], LIMIT, sampling=sampling)[0] == drawn[:1]


def test_tokens_are_drawn_as_often_as_they_are_likely(engine_on):
    engine = engine_on("llama")
    prompt = engine.encode(PROMPTS[0])
    scores = plain_scores(engine.model, Row(prompt, (5,)))[0].double()
    shares = (scores / 0.7).softmax(-1).sort(descending=True)
    kept = shares.indices[: int((shares.values.cumsum(-1) < 0.6).sum()) + 1].tolist()
    drawn = [engine.generate([prompt], 1, sampling=Sampling(0.7, 0.6, seed))[0][0][0] for seed in range(300)]
    assert set(drawn) <= set(kept)
    expected = float(shares.values[0] / shares.values[: len(kept)].sum())
    assert drawn.count(kept[0]) / 300 == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 300) ** 0.5)


def test_what_does_not_fit_is_an_error_and_measured_before(engine_on):
    engine = engine_on("llama")
    long = "hello " * 300
    assert engine.longest == 256
    assert engine.length(long) > 256
    assert engine.length([{"role": "user", "content": "hello"}]) is None
    assert engine_on("llama", "prompt").longest == 253
    assert engine_on("t5").longest is None
    with pytest.raises(ValueError, match="longer than the 256"):
        engine.encode(long)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        engine.row("hello", [400])
    with pytest.raises(ValueError, match="adds no tokens"):
        engine_on("t5").row("hello", "")
    with pytest.raises(Unanswerable):
        engine.classify(["hello"])


TEMPLATE = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)


def test_a_conversation_is_rendered_by_the_template_and_answered_after_its_opening(engine_on):
    engine = engine_on("llama")
    engine.tokenizer.chat_template = TEMPLATE
    try:
        said = [{"role": "user", "content": "hello"}]
        rendered = engine.encode("user : hello assistant :")
        assert engine.encode(said) == rendered
        assert engine.length(said) == len(rendered)
        assert engine.row(said, [5, 9]) == Row(rendered, (5, 9))
        row = engine.row(said, "router")
        assert (row.context, row.continuation) == (rendered, engine.encode("router"))
        engine.tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
        assert engine.length(said) is None
    finally:
        engine.tokenizer.chat_template = None


def test_blanks_at_the_end_of_a_prompt_belong_to_the_continuation(engine_on):
    engine = engine_on("gpt2")
    assert engine.row("user : hello ", "router") == engine.row("user : hello", "router")
    assert engine.row("user : hello", " router") == engine.row("user : hello", "router")
