"""sentence-transformers: LoRA on a sentence encoder, saved as it saves."""

import warnings
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling, Transformer
from written import answers, each, places, stir

warnings.simplefilter("ignore")
OUT, BASE = places()


def encoder(folder: Path) -> list[Any]:
    torch.manual_seed(17)
    config = transformers.BertConfig(
        vocab_size=286, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
    )
    transformers.BertModel(config).save_pretrained(str(folder / "base"))
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(BASE / "tokenizer.json"), pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(str(folder / "base"))
    words = Transformer(str(folder / "base"))
    model = SentenceTransformer(modules=[words, Pooling(32)], device="cpu")
    model.add_adapter(peft.LoraConfig(task_type="FEATURE_EXTRACTION", target_modules=["query", "value"]))
    stir(model)
    model.save_pretrained(str(folder / "adapter"))
    inner: Any = words.auto_model if hasattr(words, "auto_model") else words.model
    return answers(inner)


if __name__ == "__main__":
    each({"encoder": encoder}, OUT)
