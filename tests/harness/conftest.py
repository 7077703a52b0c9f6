import copy
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from sandbox.architectures import CAUSAL, OTHER, VOCABULARY, tokenizer_of  # noqa: E402

CLASSIFIERS = ("bert", "llama")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def made():
    """Makes a small base of an architecture for a task, random but always the same, with its tokenizer.

    In float64: the laws are about what is computed, and what float32 rounds differs from one processor to the next.
    """
    kept = {}

    def make(name, loader="AutoModelForCausalLM"):
        import transformers

        if (name, loader) not in kept:
            configuration, sizes, kind = {**CAUSAL, **OTHER}[name]
            ids = {"vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
            config = getattr(transformers, configuration)(
                **sizes, **ids, **({"num_labels": 3} if "Class" in loader else {})
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.manual_seed(0)
                model = getattr(transformers, loader).from_config(config).eval().requires_grad_(requires_grad=False)
            for parameter in model.parameters():
                parameter.data *= 3 if parameter.dim() > 1 else 1
            kept[name, loader] = model, tokenizer_of(kind)
        model, tokenizer = kept[name, loader]
        return copy.deepcopy(model).double(), tokenizer

    return make


@pytest.fixture
def adapted():
    """Puts a random adapter on a model, strong enough to be seen."""

    def put(model, kind="lora", task="CAUSAL_LM"):
        import peft

        torch.manual_seed(1)
        config = {
            "lora": lambda: peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type=task),
            "dora": lambda: peft.LoraConfig(
                r=2, target_modules="all-linear", init_lora_weights=False, use_dora=True, task_type=task
            ),
            "alora": lambda: peft.LoraConfig(
                r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type=task,
                alora_invocation_tokens=[5],
            ),
            "ia3": lambda: peft.IA3Config(
                target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"],
                init_ia3_weights=False, task_type=task,
            ),
            "adaption": lambda: peft.AdaptionPromptConfig(adapter_len=4, adapter_layers=2, task_type=task),
            "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=3, task_type=task),
            "prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=3, task_type=task),
        }[kind]()  # fmt: skip
        wrapped = peft.get_peft_model(model, config).eval()
        for name, parameter in wrapped.named_parameters():
            if kind == "ia3" and "ia3_l" in name:
                parameter.data += torch.randn_like(parameter)
            if "adaption_gate" in name:
                parameter.data += 0.5
        return wrapped.requires_grad_(requires_grad=False)

    return put
