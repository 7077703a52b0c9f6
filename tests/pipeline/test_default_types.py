"""All PEFT types with their default settings, and what trainers write: certified, activated, bitwise what PEFT loads.

One project, one run of `certify` over all of them; wherever one is refused, inspect, --plan and certify name one cause.
"""

import contextlib
import io
import json
import shutil
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
pytest.importorskip("peft")

import yaml  # noqa: E402

from loading.layouts import fused_base, per_expert  # noqa: E402
from loading.type_defaults import OTHERS, TYPES_OF_TWO, save_trained, small_base  # noqa: E402
from peft_assay.observe.static.tables import peft_table  # noqa: E402
from pipeline.certified_world import ZOO, World  # noqa: E402
from pipeline.suite_projects import write_project, write_suite  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.sandbox, pytest.mark.filterwarnings("ignore")]

VOCABULARY = 286
"""Rows of the zoo's tokenizer, which the base here uses."""
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TRAINERS = {
    "trl-sft": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear"},
    "qlora": {"r": 64, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": LINEAR},
    "unsloth": {"r": 16, "lora_alpha": 16, "target_modules": LINEAR},
    "unsloth-rslora": {"r": 16, "lora_alpha": 16, "target_modules": LINEAR, "use_rslora": True},
    "axolotl": {"r": 32, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": LINEAR},
    "llama-factory": {"r": 8, "lora_alpha": 16, "target_modules": LINEAR},
    "dora": {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"], "use_dora": True},
    "expression": {"r": 8, "target_modules": r".*\.self_attn\.(q|v)_proj"},
    "upper-layers": {"r": 8, "target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1]},
    "single-ranks": {"r": 8, "target_modules": ["q_proj", "v_proj"], "rank_pattern": {"q_proj": 4}},
    "parameters": {"r": 8, "target_modules": ["q_proj"], "target_parameters": ["mlp.down_proj.weight"]},
    "token-rows": {"r": 8, "target_modules": ["q_proj"], "trainable_token_indices": [5, 6]},
}
RULES = {
    "names": "size(weights.misnamed) == 0",
    "undeclared-tensors": "size(weights.undeclared) == 0",
    "config": "config.strict && size(config.redirects) == 0 && size(config.base_rewrites) == 0",
    "plan": "size(plan.unmet) == 0",
    "effect": "effect.differs_from_base && effect.base_unchanged && effect.deterministic",
    "isolation": "sandbox.level >= ISOLATION_PROCESS && sandbox.events == 0",
    "contradictions": "size(answers.contradictions) == 0",
}
WRONG = {
    "compiled": ("base_model.model.", "_orig_mod.base_model.model."),
    "distributed": ("base_model.model.", "base_model.model.module."),
    "bare": ("base_model.model.", ""),
    "headless": ("base_model.model.model.", "base_model.model."),
    "vision": ("base_model.model.model.", "base_model.model.model.language_model."),
}
TYPES = sorted(set(peft_table().types) - TYPES_OF_TWO - OTHERS)
STARTS_THREADS = frozenset({"ADAMSS", "FROD"})
"""PEFT itself starts threads or opens devices when it builds these, which the sandbox refuses: not certified yet."""


def base():
    return small_base(VOCABULARY)


def by_trainer(name, folder):
    import peft

    config = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **TRAINERS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(2)
        model = peft.get_peft_model(base(), config)
        with torch.no_grad():
            for path, parameter in model.named_parameters():
                if "trainable_tokens" in path:
                    parameter.add_(0.05)
        model.save_pretrained(folder, save_embedding_layers=False)


def misnamed(name, lora, folder):
    import safetensors.torch

    shutil.copytree(lora, folder)
    tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    wrong = {key.replace(*WRONG[name], 1): tensor for key, tensor in tensors.items()}
    safetensors.torch.save_file(wrong, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def project(root, model):
    """A project with the base `model` and no adapters yet."""
    world = World(root)
    folder = world.project
    (folder / "adapters").mkdir(parents=True)
    model.save_pretrained(folder / "base")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(ZOO / "base" / name, folder / "base")
    rules = [{"id": rule, "assert": text, "why": f"not {rule}", "next": "peft-assay inspect {source}"}
             for rule, text in RULES.items()]  # fmt: skip
    document = {"apiVersion": "peft-assay/v1", "kind": "Policy", "id": "loads", "description": "loads as PEFT loads it"}
    (folder / "policy.yaml").write_text(yaml.safe_dump({**document, "rules": rules}))
    write_suite(folder / "task", {"maxNewTokens": 2})
    engine = {"engine": {"name": "peft", "dtype": "float32"}}
    write_project(folder, base="./base", policy="./policy.yaml", context=engine)
    return world


def certify_all(world):
    """What `certify` says of each adapter by its folder's name."""
    assert world.run("init", ".").code == 0
    names = sorted(path.name for path in (world.project / "adapters").iterdir())
    done = world.json("certify", *map(world.adapter, names))
    return world, dict(zip(names, done.document, strict=True))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        world = project(tmp_path_factory.mktemp("types"), base())
        folder = world.project / "adapters"
        for kind in TYPES:
            with contextlib.suppress(ImportError), contextlib.redirect_stderr(io.StringIO()):
                save_trained(kind, base(), folder / kind)
        for name in TRAINERS:
            by_trainer(name, folder / name)
        for name in WRONG:
            misnamed(name, folder / "trl-sft", folder / name)
    return certify_all(world)


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """A base with fused experts: an adapter as PEFT saves it now, as under transformers 4, and half of one."""
    import peft

    world = project(tmp_path_factory.mktemp("experts"), fused_base("mixtral", VOCABULARY))
    folder = world.project / "adapters"
    targets = {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
    config = peft.LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False, **targets)
    peft.get_peft_model(fused_base("mixtral", VOCABULARY), config).save_pretrained(folder / "fused")
    for name, without in (("single", ()), ("half", ("w3",))):
        (folder / name).mkdir()
        config, weights = per_expert("mixtral", without=without)
        (folder / name / "adapter_config.json").write_bytes(config)
        (folder / name / "adapter_model.safetensors").write_bytes(weights)
    return certify_all(world)


def logits(model):
    ids = torch.arange(4, 20)[None]
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def served(world):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(world.project / "base", dtype=torch.float32).eval()


def activates_as_peft_loads_it(world, name, entry):
    import peft

    from peft_assay import activate

    assert entry["outcome"] == "PASS", json.dumps(entry, indent=1)[:2000]
    theirs = logits(peft.PeftModel.from_pretrained(served(world), world.adapter(name)).eval())
    model = served(world)
    bare = logits(model)
    active = activate(model, world.adapter(name), context=world.document, trust=world.trust)
    assert torch.equal(logits(active.model), theirs)
    assert not torch.equal(theirs, bare)
    assert torch.equal(logits(active.deactivate()), bare)


@pytest.mark.parametrize("name", sorted(STARTS_THREADS))
def test_what_cannot_be_built_in_the_sandbox_is_refused_for_that(name, everything):
    _, said = everything
    if name not in said:
        pytest.skip("an optional dependency of the type is absent")
    assert (said[name]["outcome"], said[name]["decidingRule"]) == ("FAIL", "isolation")


@pytest.mark.parametrize("name", [*sorted(set(TYPES) - STARTS_THREADS), *TRAINERS])
def test_it_is_certified_activated_and_answers_bitwise_as_peft_loads_it(name, everything):
    world, said = everything
    if name not in said:
        pytest.skip("an optional dependency of the type is absent")
    activates_as_peft_loads_it(world, name, said[name])


@pytest.mark.parametrize("name", ["fused", "single"])
def test_experts_in_either_layout_are_certified_and_activated(name, experts):
    world, said = experts
    activates_as_peft_loads_it(world, name, said[name])


def test_half_of_what_is_fused_is_refused_for_one_reason(experts):
    one_cause(*experts, "half")


def one_cause(world, said, name):
    """Asserts that the first rule that fails is the same for --plan and certify, and gives what it saw."""
    assert said[name]["outcome"] == "FAIL"
    (rule,) = [rule for rule in said[name]["rules"] if rule["id"] == "names"]
    (cause,) = rule["saw"]["weights.misnamed"]
    (planned,) = world.json("certify", "--plan", world.adapter(name)).document["unfit"]
    assert planned["message"].startswith("names: ")
    assert cause in planned["message"]
    return cause


@pytest.mark.parametrize("name", WRONG)
def test_inspect_plan_and_certify_name_one_cause(name, everything):
    world, said = everything
    cause = one_cause(world, said, name)
    if name != "vision":  # only the served base tells
        assert cause in " ".join(world.run("inspect", world.adapter(name)).out.split())
