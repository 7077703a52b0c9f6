"""Attacks in adapter_model.safetensors: names that are not the adapter's own, numbers that are none, odd headers."""

import json
from pathlib import Path

from attacks.adapter.museum import (
    LM_HEAD,
    QUERY,
    TOLD,
    WEIGHTS,
    Exhibit,
    base,
    edit_config,
    edit_header,
    edit_tensors,
    load_plainly,
    loads_silently,
    logits,
)

FOREIGN = f"{QUERY}.lora_A.good.weight"
PEFT_STRICT = "https://github.com/huggingface/peft/issues/2699"
SAFETENSORS = "https://github.com/huggingface/safetensors#format"


def build_base_tensor(folder: Path) -> None:
    import torch

    edit_tensors(folder, lambda tensors: tensors.update({LM_HEAD: torch.ones(32, 16)}))


def replaces_the_head_for_good(folder: Path) -> None:
    import torch

    model, said = load_plainly(folder)
    assert said == []
    assert torch.equal(model.base_model.model.lm_head.weight, torch.ones(32, 16))
    with model.disable_adapter():
        assert not torch.equal(logits(model), logits(base()))
    assert torch.equal(model.unload().lm_head.weight, torch.ones(32, 16))


def build_wrapped_base_tensor(folder: Path) -> None:
    """The same through the wrapper: `base_layer` is where PEFT keeps the layer it wraps."""
    import torch

    edit_tensors(folder, lambda tensors: tensors.update({f"{QUERY}.base_layer.weight": torch.ones(16, 16)}))


def replaces_the_wrapped_layer(folder: Path) -> None:
    import torch

    model, said = load_plainly(folder)
    assert said == []
    assert torch.equal(model.get_submodule(f"{QUERY}.base_layer").weight, torch.ones(16, 16))


def build_foreign_adapter_name(folder: Path) -> None:
    import torch

    edit_tensors(folder, lambda tensors: tensors.update({FOREIGN: torch.full((4, 16), 7.0)}))


def overwrites_another_adapter(folder: Path) -> None:
    import torch

    model, _ = load_plainly(folder)
    model.add_adapter("good", model.peft_config["default"])
    model.load_adapter(folder, "other")
    assert torch.equal(model.state_dict()[FOREIGN], torch.full((4, 16), 7.0))


def build_renamed_tensors(folder: Path) -> None:
    def rename(tensors):
        for name in list(tensors):
            tensors[name.replace("self_attn", "attention")] = tensors.pop(name)

    edit_tensors(folder, rename)


def serves_the_base(folder: Path) -> None:
    import torch

    model, said = load_plainly(folder)
    assert len(said) == 1  # "Found missing adapter keys", and that is all
    assert torch.equal(logits(model), logits(base()))


def build_missing_tensors(folder: Path) -> None:
    edit_tensors(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if "v_proj" in name])


def loads_half_of_it(folder: Path) -> None:
    model, _ = load_plainly(folder)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.load_adapter(folder, "again").missing_keys  # only in what the call returns


def build_random_where_missing(folder: Path) -> None:
    build_renamed_tensors(folder)
    edit_config(folder, init_lora_weights=False)


def loads_differently_each_time(folder: Path) -> None:
    import torch

    assert not torch.equal(logits(load_plainly(folder)[0]), logits(load_plainly(folder)[0]))


def build_nan(folder: Path) -> None:
    def put(tensors):
        for tensor in tensors.values():
            tensor[0, 0] = float("nan")

    edit_tensors(folder, put)


def answers_with_nan(folder: Path) -> None:
    model, said = load_plainly(folder)
    assert said == []
    assert bool(logits(model).isnan().any())
    model.merge_and_unload()  # says nothing either; safe_merge=True would


def build_infinity(folder: Path) -> None:
    def put(tensors):
        next(iter(tensors.values()))[0, 0] = float("inf")

    edit_tensors(folder, put)


def build_rank_in_the_file_is_another(folder: Path) -> None:
    edit_config(folder, r=8)


def is_refused_for_its_shapes(folder: Path) -> None:
    _raises(folder, RuntimeError, "size mismatch")


def build_double_precision(folder: Path) -> None:
    edit_tensors(folder, lambda tensors: tensors.update({name: t.double() for name, t in tensors.items()}))


def is_cast(folder: Path) -> None:
    import torch

    model, said = load_plainly(folder, low_cpu_mem_usage=True)
    assert said == []
    assert model.state_dict()[f"{QUERY}.lora_A.default.weight"].dtype == torch.float32


def build_one_name_twice(folder: Path) -> None:
    def again(header):
        name, entry = next((n, e) for n, e in json.loads(header).items() if n != "__metadata__")
        twin = {**entry, "shape": [entry["shape"][1], entry["shape"][0]]}
        return header[:-1] + f",{json.dumps(name)}:{json.dumps(twin)}}}"

    edit_header(folder, again)


def takes_the_last_shape(folder: Path) -> None:
    from safetensors.torch import load_file

    name, entry = next((n, e) for n, e in json.loads(_header(folder)).items() if n != "__metadata__")
    assert _header(folder).count(json.dumps(name)) == 2
    assert list(load_file(folder / WEIGHTS)[name].shape) == entry["shape"]


def build_metadata_of_a_megabyte(folder: Path) -> None:
    def fill(header):
        return header.replace('"format":"pt"', '"format":"pt","x":"' + "a" * (1 << 20) + '"')

    edit_header(folder, fill)


def build_header_with_a_blank_before(folder: Path) -> None:
    edit_header(folder, lambda header: "  " + header)


def build_path_for_a_name(folder: Path) -> None:
    def rename(tensors):
        tensors["../../etc/passwd\n"] = tensors.pop(next(iter(tensors)))

    edit_tensors(folder, rename)


def build_more_fields_than_known(folder: Path) -> None:
    edit_header(folder, lambda header: header.replace('"dtype":"F32"', '"dtype":"F32","loader":"x"', 1))


def build_tensor_of_nothing(folder: Path) -> None:
    import torch

    edit_tensors(folder, lambda tensors: tensors.update({f"{QUERY}.lora_A.empty": torch.zeros(0, 1 << 40)}))


def safetensors_reads_it(folder: Path) -> None:
    from safetensors.torch import load_file

    assert load_file(folder / WEIGHTS)


def _shift(header: str, by: int) -> str:
    document = json.loads(header)
    first = next(name for name in document if name != "__metadata__")
    start, end = document[first]["data_offsets"]
    document[first]["data_offsets"] = [start, end + by]
    return json.dumps(document)


def build_overlapping_tensors(folder: Path) -> None:
    edit_header(folder, lambda header: _shift(header, 64))


def build_hole_between_tensors(folder: Path) -> None:
    edit_header(folder, lambda header: _shift(header, -64))


def build_bytes_behind_the_tensors(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as stream:
        stream.write(b"PK\x03\x04 another file")


def build_header_longer_than_the_file(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes((1 << 62).to_bytes(8, "little") + content[8:])


def build_invented_dtype(folder: Path) -> None:
    edit_header(folder, lambda header: header.replace('"F32"', '"F33"', 1))


def safetensors_refuses_it(folder: Path) -> None:
    import safetensors

    _raises(folder, safetensors.SafetensorError, "")


def _raises(folder: Path, kind: type[Exception], text: str) -> None:
    try:
        load_plainly(folder)
    except kind as error:
        assert text in str(error)
    else:
        raise AssertionError("it was loaded")


def _header(folder: Path) -> str:
    content = (folder / WEIGHTS).read_bytes()
    return content[8 : 8 + int.from_bytes(content[:8], "little")].decode()


CANONICAL = {"weights.canonical": False}
EXHIBITS = (
    Exhibit(
        "0.1", build_base_tensor, "replaces the base's output layer, for good", "undeclared-tensors",
        {"weights.undeclared": (LM_HEAD,)}, replaces_the_head_for_good, silent=True, advisory=(PEFT_STRICT,),
    ),
    Exhibit(
        "0.1", build_wrapped_base_tensor, "replaces the layer that it claims to adapt", "undeclared-tensors",
        {"weights.undeclared": (f"{QUERY}.base_layer.weight",)}, replaces_the_wrapped_layer, silent=True,
        advisory=(PEFT_STRICT,),
    ),
    Exhibit(
        "2.14", build_foreign_adapter_name, "overwrites the adapter `good`, which is loaded beside it",
        "undeclared-tensors", {"weights.undeclared": (FOREIGN,)}, overwrites_another_adapter, silent=True,
    ),
    Exhibit(
        "0.7", build_renamed_tensors, "one warning; serves the base under the adapter's name", "plan",
        {"plan.unmet": "attention"}, serves_the_base, advisory=("https://github.com/vllm-project/vllm/issues/34186",),
    ),
    Exhibit(
        "0.7", build_missing_tensors, "load_adapter drops half of the adapter and returns a list of it", "plan",
        {"plan.unmet": "v_proj"}, loads_half_of_it, silent=True, advisory=(PEFT_STRICT,),
    ),
    Exhibit(
        "0.7", build_random_where_missing, "random weights: two loads answer differently", "plan",
        {"plan.unmet": "attention"}, loads_differently_each_time,
        advisory=("https://github.com/huggingface/peft/issues/1678",),
    ),
    Exhibit(
        "2.21", build_nan, "answers with NaN, and merges NaN into the base", "non-finite",
        {"weights.nonfinite": 4}, answers_with_nan, silent=True,
    ),
    Exhibit(
        "2.21", build_infinity, "loaded like any number", "non-finite", {"weights.nonfinite": 1}, loads_silently,
        silent=True,
    ),
    Exhibit(
        "2.23", build_rank_in_the_file_is_another, "RuntimeError: size mismatch", "plan", {"plan.unmet": "q_proj"},
        is_refused_for_its_shapes,
    ),
    Exhibit(
        "2.24", build_double_precision, "cast to float32", TOLD,
        {"config.unusual": "stored-as: F64"}, is_cast, silent=True,
    ),
    Exhibit(
        "2.32", build_one_name_twice, "the last of the two shapes counts", "header", CANONICAL, takes_the_last_shape,
        silent=True, advisory=(SAFETENSORS,),
    ),
    Exhibit(
        "2.32", build_metadata_of_a_megabyte, "read into memory", "header", CANONICAL, safetensors_reads_it, silent=True,
        advisory=(SAFETENSORS,),
    ),
    Exhibit(
        "2.32", build_header_with_a_blank_before, "accepted", "header", CANONICAL, safetensors_reads_it, silent=True,
        advisory=(SAFETENSORS,),
    ),
    Exhibit(
        "2.32", build_path_for_a_name, "accepted; a tool that writes tensors to files of their names writes there",
        "header", CANONICAL, safetensors_reads_it, silent=True,
    ),
    Exhibit(
        "2.32", build_more_fields_than_known, "accepted", "header", CANONICAL, safetensors_reads_it, silent=True,
        advisory=(SAFETENSORS,),
    ),
    Exhibit(
        "2.32", build_tensor_of_nothing, "accepted, with a dimension of 2^40", "header", CANONICAL,
        safetensors_reads_it, silent=True,
    ),
    *(
        Exhibit("2.31", build, "SafetensorError", "header", CANONICAL, safetensors_refuses_it, advisory=(SAFETENSORS,))
        for build in (
            build_overlapping_tensors, build_hole_between_tensors, build_bytes_behind_the_tensors,
            build_header_longer_than_the_file, build_invented_dtype,
        )
    ),
)  # fmt: skip
