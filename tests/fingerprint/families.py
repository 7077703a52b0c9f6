"""Adapters of every family that is computed, with a twin that does the same and is written otherwise."""

import numpy as np

from fingerprint import rewritings as make
from peft_assay.fingerprint.normal import normal_form

Q = "base_model.model.model.layers.0.self_attn.q_proj"
_RNG = np.random.default_rng(11)


def _normal(*shape):
    return _RNG.normal(size=shape).astype("<f4").astype("<f8")


def as_lora(files, **config):
    """A LoRA whose factors are those of the normal form: what an extraction at full rank gives."""
    tensors, rank = {}, 1
    for part in normal_form(files):
        dense = part.left @ part.right if part.rows is None else part.rows(0, part.shape[0])
        u, s, v = np.linalg.svd(dense, full_matrices=False)
        tensors[f"base_model.model.{part.module}.lora_A.weight"] = np.sqrt(s)[:, None] * v
        tensors[f"base_model.model.{part.module}.lora_B.weight"] = u * np.sqrt(s)
        rank = len(s)
    return make.adapter(tensors, peft_type="LORA", r=rank, lora_alpha=rank, **config)


def adapters():
    """One adapter of each family, by the name of its type."""
    bank, turn = _normal(6, 4), np.abs(_normal(2)) + 0.5
    return {
        "dora": make.adapter(
            {f"{Q}.lora_A.weight": _normal(4, 16), f"{Q}.lora_B.weight": _normal(16, 4),
             f"{Q}.lora_magnitude_vector": np.abs(_normal(16))},
            peft_type="LORA", r=4, lora_alpha=8, use_dora=True,
        ),
        "adalora": make.adapter(
            {f"{Q}.lora_A": _normal(4, 16), f"{Q}.lora_B": _normal(16, 4), f"{Q}.lora_E": _normal(4, 1)},
            peft_type="ADALORA", init_r=4, lora_alpha=8,
        ),
        "embedding": make.adapter(
            {"base_model.model.embed.lora_embedding_A": _normal(4, 20), "base_model.model.embed.lora_embedding_B": _normal(16, 4)},
            peft_type="LORA", r=4, lora_alpha=8,
        ),
        "convolution": make.adapter(
            {f"{Q}.lora_A.weight": _normal(4, 6, 3, 3), f"{Q}.lora_B.weight": _normal(16, 4, 1, 1)},
            peft_type="LORA", r=4, lora_alpha=8,
        ),
        "experts": make.adapter(
            {f"{Q}.lora_A.weight": _normal(6, 16), f"{Q}.lora_B.weight": _normal(16, 6)},
            peft_type="LORA", r=2, lora_alpha=8, target_parameters=["q_proj"],
        ),
        "bias": make.adapter(
            {f"{Q}.lora_A.weight": _normal(4, 16), f"{Q}.lora_B.weight": _normal(16, 4), f"{Q}.lora_B.bias": _normal(16)},
            peft_type="LORA", r=4, lora_alpha=8, lora_bias=True,
        ),
        "loha": make.adapter(
            {f"{Q}.hada_w1_a": _normal(16, 4), f"{Q}.hada_w1_b": _normal(4, 12),
             f"{Q}.hada_w2_a": _normal(16, 4), f"{Q}.hada_w2_b": _normal(4, 12)},
            peft_type="LOHA", r=4, alpha=8,
        ),
        "loha convolution": make.adapter(
            {f"{Q}.hada_t1": _normal(4, 4, 3, 3), f"{Q}.hada_w1_a": _normal(4, 16), f"{Q}.hada_w1_b": _normal(4, 6),
             f"{Q}.hada_t2": _normal(4, 4, 3, 3), f"{Q}.hada_w2_a": _normal(4, 16), f"{Q}.hada_w2_b": _normal(4, 6)},
            peft_type="LOHA", r=4, alpha=8,
        ),
        "lokr": make.adapter(
            {f"{Q}.lokr_w1": _normal(4, 4), f"{Q}.lokr_w2_a": _normal(4, 2), f"{Q}.lokr_w2_b": _normal(2, 3)},
            peft_type="LOKR", r=2, alpha=8,
        ),
        "lokr convolution": make.adapter(
            {f"{Q}.lokr_w1_a": _normal(4, 2), f"{Q}.lokr_w1_b": _normal(2, 4), f"{Q}.lokr_t2": _normal(2, 2, 3, 3),
             f"{Q}.lokr_w2_a": _normal(2, 4), f"{Q}.lokr_w2_b": _normal(2, 3)},
            peft_type="LOKR", r=2, alpha=8,
        ),
        "vera": make.adapter(
            {"base_model.vera_A": _normal(8, 16), "base_model.vera_B": _normal(16, 8),
             f"{Q}.vera_lambda_b": _normal(16), f"{Q}.vera_lambda_d": _normal(8)},
            peft_type="VERA", r=8,
        ),
        "vera without projections": make.adapter(
            {f"{Q}.vera_lambda_b": _normal(16), f"{Q}.vera_lambda_d": _normal(8)}, peft_type="VERA", r=8,
        ),
        "ia3": make.adapter({f"{Q}.ia3_l": 1 + _normal(16, 1) / 8}, peft_type="IA3"),
        "miss": make.adapter({f"{Q}.miss_block": _normal(4, 16)}, peft_type="MISS", r=4),
        "oft": make.adapter({f"{Q}.oft_R.weight": _normal(4, 6)}, peft_type="OFT"),
        "boft": make.adapter({f"{Q}.boft_R": _normal(1, 4, 4, 4), f"{Q}.boft_s": 1 + _normal(16, 1) / 8}, peft_type="BOFT"),
        "hra": make.adapter({f"{Q}.hra_u": _normal(16, 4)}, peft_type="HRA", r=4),
        "hra gram-schmidt": make.adapter({f"{Q}.hra_u": _normal(16, 4)}, peft_type="HRA", r=4, apply_GS=True),
        "road": make.adapter({f"{Q}.road_theta": _normal(16), f"{Q}.road_alpha": 1 + _normal(16) / 8}, peft_type="ROAD", variant="road_2"),
        "road of four": make.adapter(
            {f"{Q}.road_theta": _normal(32), f"{Q}.road_alpha": 1 + _normal(32) / 8}, peft_type="ROAD", variant="road_4", group_size=8,
        ),
        "gralora": make.adapter(
            {f"{Q}.gralora_A": _normal(2, 8, 4), f"{Q}.gralora_B": _normal(2, 4, 8),
             f"{Q}.gralora_A_general.weight": _normal(2, 16), f"{Q}.gralora_B_general.weight": _normal(16, 2)},
            peft_type="GRALORA", r=4, alpha=8,
        ),
        "delora": make.adapter(
            {f"{Q}.delora_A": _normal(4, 16), f"{Q}.delora_B": _normal(16, 4), f"{Q}.delora_lambda": turn[:1],
             f"{Q}.delora_w_norm": np.abs(_normal(16)) + 1},
            peft_type="DELORA", r=4,
        ),
        "vblora": make.adapter(
            {"base_model.model.vblora_vector_bank": bank, f"{Q}.vblora_logits_A": _normal(2, 4, 6), f"{Q}.vblora_logits_B": _normal(4, 2, 6)},
            peft_type="VBLORA", r=2, topk=2,
        ),
        "vblora of chosen weights": make.adapter(
            {"base_model.model.vblora_vector_bank": bank, f"{Q}.vblora_logits_A": _normal(2, 4, 2), f"{Q}.vblora_logits_B": _normal(4, 2, 2)},
            peft_type="VBLORA", r=2, topk=2, save_only_topk_weights=True,
        ),
        "prompt": make.adapter({"prompt_embeddings": _normal(8, 16)}, peft_type="PROMPT_TUNING"),
        "prefix": make.adapter(
            {"prompt_embeddings": _normal(5, 48)}, peft_type="PREFIX_TUNING", num_layers=3, num_attention_heads=2, token_dim=8
        ),
        "of a type nobody computes": make.adapter({f"{Q}.strange_tensor": _normal(8, 16)}, peft_type="LN_TUNING"),
    }  # fmt: skip


def _changed(files, **tensors):
    return make.rewritten(files, {**make.tensors_of(files), **tensors})


def twins():
    """(withdrawn, twin) by name: a plain copy in bfloat16 for every family, and rewritings of its own for some."""
    found = {
        f"{name} in bfloat16": (files, make.rewritten(files, make.tensors_of(files), "BF16"))
        for name, files in adapters().items()
    }
    every = adapters()
    for name in ("adalora", "embedding", "loha", "lokr", "vera", "gralora", "delora", "vblora"):
        files = every[name]
        found[f"{name} as LoRA"] = (files, as_lora(files))
    found.update(_ia3_twins())
    loha = make.tensors_of(every["loha"])
    swapped = {n: loha[n.replace("w1", "w0").replace("w2", "w1").replace("w0", "w2")] for n in loha}
    found["loha swapped"] = (every["loha"], make.rewritten(every["loha"], swapped))
    lokr = make.tensors_of(every["lokr"])
    found["lokr signs"] = (
        every["lokr"],
        _changed(every["lokr"], **{f"{Q}.lokr_w1": -lokr[f"{Q}.lokr_w1"], f"{Q}.lokr_w2_a": -lokr[f"{Q}.lokr_w2_a"]}),
    )
    u = make.tensors_of(every["hra"])[f"{Q}.hra_u"]
    found["hra lengths"] = (every["hra"], _changed(every["hra"], **{f"{Q}.hra_u": u * np.array([3, -0.5, 7, 1])}))
    boft = make.tensors_of(every["boft"])[f"{Q}.boft_R"]
    symmetric = _normal(1, 4, 4, 4)
    found["boft symmetric part"] = (
        every["boft"],
        _changed(every["boft"], **{f"{Q}.boft_R": boft + symmetric + symmetric.swapaxes(-1, -2)}),
    )
    angles = make.tensors_of(every["road"])[f"{Q}.road_theta"]
    found["road whole turns"] = (every["road"], _changed(every["road"], **{f"{Q}.road_theta": angles + 2 * np.pi}))
    delora = make.tensors_of(every["delora"])[f"{Q}.delora_A"]
    found["delora lengths"] = (every["delora"], _changed(every["delora"], **{f"{Q}.delora_A": delora * 5}))
    vblora = make.tensors_of(every["vblora"])
    order = np.array([3, 1, 5, 0, 4, 2])
    shuffled = {n: v[order] if n.endswith("bank") else v[..., order] for n, v in vblora.items()}
    found["vblora bank in another order"] = (every["vblora"], make.rewritten(every["vblora"], shuffled))
    prefix = make.tensors_of(every["prefix"])["prompt_embeddings"]
    permuted = _permuted_in_heads(prefix)
    found["prefix in another order"] = (every["prefix"], _changed(every["prefix"], prompt_embeddings=prefix[::-1]))
    found["prefix in an order of each head"] = (every["prefix"], _changed(every["prefix"], prompt_embeddings=permuted))
    half = make.rewritten(every["prefix"], {"prompt_embeddings": permuted}, "BF16")
    found["prefix in another order in bfloat16"] = (every["prefix"], half)
    return found


def _permuted_in_heads(prefix):
    """Keys and values of each head of each layer in an order of their own: attention sums over them."""
    orders = np.random.default_rng(3)
    divided = prefix.reshape(5, 3, 2, 2, 4).copy()
    for layer in range(3):
        for head in range(2):
            divided[:, layer, :, head] = divided[orders.permutation(5), layer, :, head]
    return divided.reshape(5, 48)


def _ia3_twins():
    """The base's own symmetry: one factor written at another module, or spread over two."""
    mlp, attention = "base_model.model.layers.0.mlp", "base_model.model.layers.0.self_attn"
    factor, value = 1 + _normal(1, 24) / 8, 1 + _normal(16, 1) / 8
    one = {f"{mlp}.down_proj.ia3_l": factor, f"{attention}.v_proj.ia3_l": value}
    withdrawn = make.adapter(one, peft_type="IA3")
    moved = {f"{mlp}.up_proj.ia3_l": factor.T, f"{attention}.o_proj.ia3_l": value.T}
    spread = {**one, f"{mlp}.down_proj.ia3_l": factor * 2, f"{mlp}.up_proj.ia3_l": np.full((24, 1), 0.5)}
    return {
        "ia3 moved to the counterpart": (withdrawn, make.adapter(moved, peft_type="IA3")),
        "ia3 spread over two": (withdrawn, make.adapter(spread, peft_type="IA3")),
    }
