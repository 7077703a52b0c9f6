"""Other bases than the zoo's: learned positions and tied embeddings, a sliding window, private files."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from peft_assay.core.errors import ObservationError  # noqa: E402
from peft_assay.core.sandbox import Job, Limits, Outcome  # noqa: E402
from peft_assay.sandbox.choose import open_sandbox  # noqa: E402
from peft_assay.sandbox.interface import SandboxConfiguration  # noqa: E402

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
PROMPTS = ["user : hello", "hello", "user : how do i reset my router ? assistant :", "user : " + "reset " * 20]

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore"),  # transformers and PEFT warn about their own defaults here
]


def configuration_of(kind):
    import transformers

    common = {"vocab_size": 286, "eos_token_id": 2, "bos_token_id": None, "pad_token_id": 0}
    if kind == "gpt2":
        return transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=128, **common)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    return transformers.Gemma2Config(sliding_window=16, **sizes, **heads, **common)


@pytest.fixture(params=["gpt2", "gemma2"])
def small_base(request, tmp_path):
    """A random base with an adapter beside it, saved as transformers saves: weights readable by their owner only."""
    import peft
    import transformers

    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(configuration_of(request.param)).eval()
    for parameter in model.parameters():
        parameter.data *= 3 if parameter.dim() > 1 else 1
    model.save_pretrained(tmp_path / "base")
    transformers.AutoTokenizer.from_pretrained(ZOO / "base").save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").chmod(0o600)
    lora = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    peft.get_peft_model(model, lora).save_pretrained(tmp_path / "adapter")
    return tmp_path


def plain_answers(folder):
    import peft
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(model, folder / "adapter").eval()
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt")
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=10, do_sample=False)
        yield output[0, inputs["input_ids"].shape[1] :].tolist()


def test_answers_are_those_of_plain_peft(small_base):
    adapter = {path.name: path.read_bytes() for path in (small_base / "adapter").iterdir()}
    replies = []

    def converse(ask):
        replies.append(ask({"op": "load"}))
        replies.append(ask({"op": "generate", "prompts": PROMPTS, "maxNewTokens": 10}))

    try:
        sandbox = open_sandbox(SandboxConfiguration(base=small_base / "base"))
    except ObservationError as error:
        pytest.skip(f"no sandbox on this host: {error}")
    with sandbox:
        result = sandbox.run(Job(adapter, Limits()), converse)
    assert (result.outcome, result.events) == (Outcome.OK, ())
    assert replies[0]["loaded"] is True
    assert replies[1]["tokens"] == list(plain_answers(small_base))
