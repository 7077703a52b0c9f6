"""The model that the findings use: a small untrained Llama, and an adapter on it with values as after training."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, logging

logging.set_verbosity_error()
torch.set_num_threads(1)
tokens = torch.arange(3, 11)[None]


def base(**more):
    """Return a small untrained Llama, with the same weights each time."""
    torch.manual_seed(1)
    sizes = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    return LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=4, **more)).eval()


def filled(model):
    """Return the model in evaluation mode, each tensor of an adapter drawn anew: PEFT starts with an update of zero."""
    source = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "hada_" in name or "ia3_" in name:
            parameter.data.normal_(0, 0.2, generator=source)
    return model.eval()
