"""Tools whose files are not PEFT's: diffusers, AdapterHub, LyCORIS, torchtune, mergekit and MLX, each in its own environment."""

import json
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from written import answers, each, places, prompt, stir

warnings.simplefilter("ignore")
OUT, BASE = places()


def llama() -> Any:
    import torch
    import transformers

    torch.manual_seed(17)
    return transformers.LlamaForCausalLM.from_pretrained(str(BASE)).float().eval()


def diffusers_unet(folder: Path) -> None:
    import peft
    import torch
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from diffusers.utils import convert_state_dict_to_diffusers

    torch.manual_seed(17)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        sample_size=8,
        cross_attention_dim=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    unet.add_adapter(peft.LoraConfig(r=4, target_modules=["to_q", "to_v"], init_lora_weights=False))
    state = convert_state_dict_to_diffusers(peft.get_peft_model_state_dict(unet))
    StableDiffusionPipeline.save_lora_weights(str(folder / "adapter"), unet_lora_layers=state)


def adapterhub(folder: Path) -> list[Any]:
    import adapters

    model = llama()
    adapters.init(model)
    model.add_adapter("support", config=adapters.LoRAConfig(r=4, alpha=8))
    model.train_adapter("support")
    stir(model)
    model.save_adapter(str(folder / "adapter"), "support")
    return answers(model)


def adapterhub_bottleneck(folder: Path) -> list[Any]:
    import adapters

    model = llama()
    adapters.init(model)
    model.add_adapter("support", config="seq_bn")
    model.train_adapter("support")
    stir(model)
    model.save_adapter(str(folder / "adapter"), "support")
    return answers(model)


def lycoris(folder: Path, algo: str) -> list[Any]:
    import torch
    from lycoris import LycorisNetwork, create_lycoris

    model = llama()
    LycorisNetwork.apply_preset({"target_name": [".*proj.*"]})
    network = create_lycoris(model, 1.0, linear_dim=4, linear_alpha=2.0, algo=algo)
    network.apply_to()
    stir(network)
    (folder / "adapter").mkdir()
    network.save_weights(str(folder / "adapter/lycoris.safetensors"), torch.float32, {})
    return answers(model)


def torchtune(folder: Path) -> list[Any]:
    """Adapt torchtune's own Llama, read from the base and saved by its checkpointer."""
    import torch
    from torchtune import training
    from torchtune.models.llama2 import lora_llama2
    from torchtune.modules.peft import get_adapter_params, set_trainable_params

    torch.manual_seed(17)
    out = folder / "out"
    keeper = training.FullModelHFCheckpointer(str(BASE), ["model.safetensors"], "LLAMA2", str(out))
    state = keeper.load_checkpoint()[training.MODEL_KEY]
    targets = ["q_proj", "v_proj"]
    model = lora_llama2(
        targets, vocab_size=286, num_layers=4, num_heads=4, num_kv_heads=4, embed_dim=128, intermediate_dim=344,
        max_seq_len=128, norm_eps=1e-6, lora_rank=4, lora_alpha=8,
    )  # fmt: skip
    model.load_state_dict(state, strict=False)
    model = model.float().eval()
    set_trainable_params(model, get_adapter_params(model))
    stir(model)
    config = {"r": 4, "lora_alpha": 8, "target_modules": targets, "peft_type": "LORA"}
    adapter = {name: tensor.detach() for name, tensor in get_adapter_params(model).items()}
    keeper.save_checkpoint(
        {training.MODEL_KEY: state, training.ADAPTER_KEY: adapter, training.ADAPTER_CONFIG: config},
        epoch=0,
        adapter_only=True,
    )
    (out / "epoch_0").rename(folder / "adapter")
    with torch.no_grad():
        return model(prompt()).tolist()


def mergekit(folder: Path) -> None:
    """Extract a LoRA from a changed copy of the base, by mergekit's own command."""
    import torch

    model = llama()
    draw = torch.Generator().manual_seed(17)
    for name, parameter in model.named_parameters():
        if "q_proj" in name or "v_proj" in name:
            left, right = (torch.randn(128, 4, generator=draw) for _ in range(2))
            parameter.data.add_(0.002 * left @ right.T)
    model.save_pretrained(str(folder / "tuned"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "tuned" / name).write_bytes((BASE / name).read_bytes())
    command = Path(sys.executable).parent / "mergekit-extract-lora"
    options = [
        f"--model={folder / 'tuned'}",
        f"--base-model={BASE}",
        f"--out-path={folder / 'adapter'}",
        "--max-rank=4",
    ]
    subprocess.run([str(command), *options], check=True, capture_output=True, text=True)


def mlx(folder: Path) -> None:
    """Train two steps by MLX's own command on the CPU."""
    data = folder / "data"
    data.mkdir()
    for name in ("train", "valid"):
        (data / f"{name}.jsonl").write_text((json.dumps({"text": "user : hello assistant : how are you"}) + "\n") * 8)
    options = ["--model", str(BASE), "--train", "--data", str(data), "--iters", "2", "--batch-size", "2"]
    options += ["--num-layers", "2", "--adapter-path", str(folder / "adapter"), "--val-batches", "1"]
    subprocess.run([sys.executable, "-m", "mlx_lm", "lora", *options], check=True, capture_output=True, text=True)


TOOLS: dict[str, dict[str, Any]] = {
    "diffusers": {"unet": diffusers_unet},
    "adapters": {"lora": adapterhub, "bottleneck": adapterhub_bottleneck},
    "lycoris": {name: (lambda folder, name=name: lycoris(folder, name)) for name in ("locon", "loha", "lokr", "full")},
    "torchtune": {"llama2": torchtune},
    "mergekit": {"extracted": mergekit},
    "mlx_lm": {"lora": mlx},
}

if __name__ == "__main__":
    for tool, rows in TOOLS.items():
        if find_spec(tool):
            each(rows, OUT)
