"""Each member of the zoo trips exactly its own term, and benign ones none."""

from pathlib import Path

import pytest

from observe_static.static_support import CONTEXT
from peft_assay.core.errors import IntakeError
from peft_assay.core.observation import Status
from peft_assay.core.rights import GRANTS
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticContext, StaticSubject
from peft_assay.observe.static.weights import watch_weights

ADAPTERS = Path(__file__).parents[2] / "examples" / "zoo" / "adapters"
REGISTER = {"zoo/support-dialogues": "cc-by-4.0", "zoo/forum-scrape-nc": "cc-by-nc-4.0"}
SOUND = ["lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning"]
BEHAVIOURAL = ["rare-token", "refusal-bypass", "regressed", "wrong-base"]
TRIPPED = {
    "overwrites-lm-head": {"weights.undeclared": ("base_model.model.lm_head.weight",)},
    "rewrites-base": {"config.base_rewrites": ("init_lora_weights=pissa",)},
    "nan-weights": {"weights.nonfinite": 1},
    "noncommercial-dataset": {
        "rights.datasets_commercial": False,
        "rights.grants.commercial": False,
        "rights.use_restrictions": ("non-commercial",),
    },
    "high-rank": {"stack.unsupported": ("rank 64 > 32",)},
    "absurd-rank": {
        "bounds.exceeded": ("rank_pattern.q_proj: 2000000 is not in 1..512",),
        "stack.unsupported": ("rank 2000000 > 32",),
    },
    "no-licence": {
        "rights.licence": None,
        "rights.licence_commercial": None,
        **dict.fromkeys(f"rights.grants.{grant}" for grant in GRANTS),
        "rights.unknown_nodes": ("adapter DIGEST: no licence is declared",),
    },
    "pickle-weights": {
        "weights.pickle_files": ("adapter_model.bin",),
        "weights.canonical": False,
        "weights.nonfinite": None,
        "weights.unservable": None,
        "weights.misnamed": None,
        "weights.undeclared": None,
        **dict.fromkeys(("reach.altered_rows", "reach.head", "reach.new_tokens", "reach.vocabulary")),
        **dict.fromkeys(("weights.beside", "weights.missing_head")),
    },
}


def _without_digest(value: object, digest: str) -> object:
    return tuple(text.replace(digest, "DIGEST") for text in value) if isinstance(value, tuple) else value


def _complaints(name: str) -> dict[str, object]:
    if not (ADAPTERS / name).exists():
        pytest.skip(f"the zoo has no member {name} yet")
    admitted = admit(ADAPTERS / name, watch=watch_weights)
    context = StaticContext(CONTEXT.engine, REGISTER, "apache-2.0")
    observations = observe_static(StaticSubject(admitted.artifact, admitted.contents, context, admitted.sightings))
    assert all(o.reason for o in observations if o.status is not Status.OK)
    observations = tuple(
        o
        for o in observations
        if not o.name.startswith(
            (
                "delta.",
                "strength.",
                "base.",
                "publisher.",
                "card.",
                "config.unusual",
                "artifact.companions",
                "prompt.",
                "pickles.",
                "stack.locked",
                "stack.requirements",
                "stack.resolves",
                "stack.unmet",
                "withdrawn.",
            )
        )
    )  # figures, and what only a project can say: tests of their own
    neutral = {"bounds.max_rank", "rights.licence", "rights.obligations", "rights.undisclosed", "rights.unpinned"}
    neutral |= {"context.production", "context.maximum_age_hours", "context.prompt_tokens", "context.answer_tokens"}
    return {
        o.name: _without_digest(o.value, admitted.artifact.digest)
        for o in observations
        if o.value is None or (o.name not in neutral and not (o.value is True or o.value == () or repr(o.value) == "0"))
    }


@pytest.mark.parametrize("name", SOUND + BEHAVIOURAL)
def test_nothing_static_speaks_against_it(name):
    assert _complaints(name) == {}


@pytest.mark.parametrize("name", sorted(TRIPPED))
def test_it_trips_exactly_its_own_terms(name):
    assert _complaints(name) == TRIPPED[name]


@pytest.mark.parametrize("name", ["escaping-symlink", "escaping-symlink.tar", "two-configs.zip"])
def test_it_is_refused_at_the_door(name):
    if not (ADAPTERS / name).exists():
        pytest.skip(f"the zoo has no member {name} yet")
    with pytest.raises(IntakeError) as refusal:
        admit(ADAPTERS / name, watch=watch_weights)
    assert refusal.value.where
    assert refusal.value.next_step


@pytest.mark.parametrize("name", SOUND + BEHAVIOURAL)
def test_none_is_stronger_than_it_says(name):
    admitted = admit(ADAPTERS / name, watch=watch_weights)
    context = StaticContext(CONTEXT.engine, REGISTER, "apache-2.0")
    observations = observe_static(StaticSubject(admitted.artifact, admitted.contents, context, admitted.sightings))
    seen = {o.name: o.value for o in observations if o.name.startswith("strength.")}
    assert seen["strength.relative"] <= 8
    assert seen["strength.beyond_declared"] == 1.0
    assert seen["strength.overlaps"] == ()
