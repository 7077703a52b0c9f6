"""What every room of the museum is built from: a tiny base, an ordinary adapter for it, and ways to alter its files.

An exhibit is one attack: a generator that alters an ordinary adapter, what a plain loader does with it (the positive
control), and what we say of it.
"""

import json
import struct
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

CARD = "---\nlicense: apache-2.0\ndatasets:\n- zoo/dialogues\n---\n\n# An adapter\n"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LM_HEAD = "base_model.model.lm_head.weight"
QUERY = "base_model.model.model.layers.0.self_attn.q_proj"

INTAKE = "intake"
UNREAD = "never read"
TOLD = "told"
ACTIVATION = "activation"


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One attack. Its name is that of its generator."""

    row: str
    """Row of the catalogue that it belongs to."""
    build: Callable[[Path], None]
    """Turns the ordinary adapter in a folder into the attack."""
    plain: str
    """What plain PEFT or transformers does with it, in words."""
    answer: str
    """The rule of the default policy that decides; or INTAKE, UNREAD or ACTIVATION."""
    seen: Mapping[str, Any] = field(default_factory=dict)
    """Observations: the value, or a text that the value or the reason holds."""
    control: Callable[[Path], None] | None = None
    """Shows what `plain` says."""
    silent: bool = False
    """A plain loader takes it without a word."""
    ours: Callable[[Path], None] | None = None
    """Shows what we do instead, where an observation alone does not."""
    advisory: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.build.__name__.removeprefix("build_")


def base(vocabulary: int = 32) -> Any:
    """A fresh Llama of one layer, always with the same weights."""
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=64,
        )  # fmt: skip
        return transformers.LlamaForCausalLM(config).eval()


def logits(model: Any, *tokens: int, **arguments: Any) -> Any:
    """What `model` answers after `tokens`."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([list(tokens or (1, 2, 3))]), **arguments).logits


def save(folder: Path, config: Any) -> None:
    """An adapter of `config` for the tiny base with an effect, as PEFT saves it, with a card."""
    import peft
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        model = peft.get_peft_model(base(), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.3)
        model.save_pretrained(folder, save_embedding_layers=False)
    edit_config(folder, base_model_name_or_path="zoo/base", revision="a" * 40)
    (folder / "README.md").write_text(CARD)


def lora(**fields: Any) -> Any:
    import peft

    return peft.LoraConfig(**{"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | fields)


def resave(folder: Path, **fields: Any) -> None:
    """The ordinary adapter again, saved with these fields of its configuration."""
    for path in folder.iterdir():
        path.unlink()
    save(folder, lora(**fields))


def edit_config(folder: Path, **fields: Any) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **fields}), "utf-8")


def edit_tensors(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def edit_header(folder: Path, change: Callable[[str], str]) -> None:
    """The weights with their header as `change` writes it, not padded."""
    content = (folder / WEIGHTS).read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = change(content[8:end].decode().rstrip()).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + content[end:])


def load_plainly(folder: Path, model: Any = None, **arguments: Any) -> tuple[Any, list[str]]:
    """The adapter on a base by PEFT alone, and everything that was said about it."""
    import peft

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = peft.PeftModel.from_pretrained(base() if model is None else model, folder, **arguments)
    # transformers' own deprecations are not about the adapter; everything else would be PEFT speaking up
    said = [str(w.message) for w in caught if not issubclass(w.category, FutureWarning | DeprecationWarning)]
    return loaded.eval(), said


def loads_silently(folder: Path) -> None:
    """The control of what shows elsewhere that it has an effect."""
    assert load_plainly(folder)[1] == []


def make_tokenizer(folder: Path, words: int) -> None:
    """A tokenizer of `words` words, w1 and so on, in a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0} | {f"w{n}": n for n in range(1, words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)


@contextmanager
def opened(names: Callable[[str], bool]):
    """Collects the paths that Python opens meanwhile and `names` is true of."""
    import sys

    found: list[str] = []
    active = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if active and event == "open" and isinstance(arguments[0], str) and names(arguments[0]):
            found.append(arguments[0])

    sys.addaudithook(hook)  # an audit hook stays for good: it is switched off instead
    try:
        yield found
    finally:
        active = False


@cache
def ordinary_files(kept: str) -> dict[str, bytes]:
    """The files of the ordinary adapter; `kept`: a folder to make it in."""
    folder = Path(kept)
    save(folder, lora())
    return {path.name: path.read_bytes() for path in folder.iterdir()}
