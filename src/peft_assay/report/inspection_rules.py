"""What a measured value means to somebody who has no policy yet: one table, by name of the vocabulary.

`BLOCK` is what the default policy refuses, and a test keeps the two in step. Names that are not in the table are judged
by their type (`check_for`), so that a new probe is never silent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.observation import Value
from peft_assay.core.vocabulary import STATIC_TERMS
from peft_assay.report.interface import Severity

ELSEWHERE: Severity | None = None


class Suspect(StrEnum):
    """Which value of a name is a finding."""

    FILLED = "a list that is not empty"
    POSITIVE = "a number above zero"
    TRUE = "true"
    FALSE = "false"
    OVER = "a number above the default policy's bound"
    NEVER = "no value: it is a measure"


@dataclass(frozen=True, slots=True)
class Check:
    """How one name is read."""

    suspect: Suspect
    severity: Severity
    sentence: str
    next_step: str
    file: str = ""
    """The file it is about, where the value does not name one."""
    unseen: Severity = Severity.LOOK
    """What it weighs that the value could not be had."""
    unseen_sentence: str = "could not be measured"
    codes: Mapping[str, Severity | None] = field(default_factory=dict)
    """Other weights for items ``code: ...`` of a list; ELSEWHERE for one that another name tells better."""
    most: float = 0.0
    """The largest number that is not suspect, for Suspect.OVER."""
    asks_project: bool = False
    """Whether only a project (peft-assay.yaml) has the answer: without one nothing can be said."""


_MEANINGS: Mapping[str, str] = {term.name: term.meaning for term in STATIC_TERMS}
_FILES = (
    ("weights.", WEIGHTS_FILE), ("delta.", WEIGHTS_FILE), ("config.", CONFIG_FILE), ("bounds.", CONFIG_FILE),
    ("strength.", CONFIG_FILE),
    ("reach.", CONFIG_FILE), ("stack.", CONFIG_FILE), ("prompt.", CONFIG_FILE), ("rights.", CARD_FILE),
)  # fmt: skip
"""The file that names of a family are about."""


def _measure(name: str) -> Check:
    return Check(Suspect.NEVER, Severity.LOOK, _MEANINGS.get(name, ""), "", file_of(name))


def file_of(name: str) -> str:
    """The file that a name of the vocabulary is about; empty where its values name files themselves, or it has none."""
    return next((file for prefix, file in _FILES if name.startswith(prefix)), "")


_BLOCK, _LOOK, _UNSTATED = Severity.BLOCK, Severity.LOOK, Severity.UNSTATED
_TASK = "declare the base and task it was made for (context.base in peft-assay.yaml), then: peft-assay certify {source}"
_ENGINE = "write the engine you serve with into peft-assay.yaml (context.engine), then: peft-assay certify {source}"
_STRENGTH = "ask the publisher why, and for a configuration with one pattern for each module"
_LICENCE = (
    "ask the publisher to state license: in README.md; or record the one you were granted in peft-assay.yaml, "
    "under rights.declared"
)
_DATASETS = "ask the publisher which data it was trained on (datasets: in README.md), then look up each licence"
_SETTLE = "look at the lineage and what is open in it: peft-assay rights show {source}"

_BASE = (
    "ask the publisher which base it was trained on, at which revision; certify observes it on the base that you serve"
)

CHECKS: Mapping[str, Check] = {
    "weights.pickle_files": Check(
        Suspect.FILLED, _BLOCK, "reading a pickle runs code that its author chose",
        "ask the publisher for safetensors, or convert the weights in a throw-away sandbox; delete what is only left "
        "from training (training_args.bin, optimizer.pt)",
    ),
    "weights.canonical": Check(
        Suspect.FALSE, _BLOCK, "the weights are not there, or have not exactly one reading",
        "fetch it again; if that does not help, ask the publisher for safetensors that PEFT's save_pretrained wrote",
        WEIGHTS_FILE,
    ),
    "weights.nonfinite": Check(
        Suspect.POSITIVE, _BLOCK, "tensors hold NaN or infinity: the adapted model answers with noise",
        "ask the publisher for weights from before training diverged", WEIGHTS_FILE,
    ),
    "weights.unservable": Check(
        Suspect.FILLED, _LOOK, "in these number types it loses values that it stores",
        "serve it in another type (context.engine.dtype in peft-assay.yaml: float32, bfloat16 or float16), or ask the "
        "publisher for weights with the range of yours",
        WEIGHTS_FILE,
    ),
    "weights.undeclared": Check(
        Suspect.FILLED, _BLOCK, "tensors that the configuration does not declare: loaders may write them into the base",
        "ask the publisher why they are there; embeddings that PEFT saved by itself are avoided with "
        "save_pretrained(save_embedding_layers=False)",
        WEIGHTS_FILE,
    ),
    "weights.misnamed": Check(
        Suspect.FILLED, _BLOCK, "names under which PEFT looks for nothing: it would serve the base",
        "change the names as it says (safetensors' load_file and save_file), and certify that copy", WEIGHTS_FILE,
    ),
    "config.strict": Check(
        Suspect.FALSE, _BLOCK, "fields that PEFT does not know, or of another type: a loader drops them",
        "load and save it with the PEFT version it was made for, and compare; a newer PEFT may know the fields",
        CONFIG_FILE,
    ),
    "config.redirects": Check(
        Suspect.FILLED, _BLOCK, "fields that make a loader fetch, import or open something that is not in the adapter",
        "remove them: serving does not need them; only an X-LoRA needs its adapters, which are examined each by itself",
        CONFIG_FILE,
    ),
    "config.base_rewrites": Check(
        Suspect.FILLED, _BLOCK, "merely loading it changes the base's own tensors, for every other adapter too",
        "convert it to a plain LoRA where it was trained (in PEFT, save_pretrained with "
        "path_initial_model_for_weight_conversion)",
        CONFIG_FILE,
    ),
    "config.unsafe_patterns": Check(
        Suspect.FILLED, _LOOK, "patterns that may take very long to match: it is not instantiated",
        "ask the publisher to list module names instead of the pattern, or for a pattern with fewer repetitions",
        CONFIG_FILE,
    ),
    "config.conditional": Check(
        Suspect.FILLED, _BLOCK, "behaviour depends on tokens or routing: a test sees only part of it",
        "write suites that cover each of its conditions, and a policy that admits it", CONFIG_FILE,
    ),
    "bounds.exceeded": Check(
        Suspect.FILLED, _BLOCK, "sizes beyond what an adapter needs: loading it exhausts memory or time",
        "ask the publisher for the configuration it was trained with", CONFIG_FILE,
    ),
    "strength.relative": Check(
        Suspect.OVER, _BLOCK, "far stronger than any ordinary adapter of its type", _STRENGTH, CONFIG_FILE, most=32.0,
    ),
    "strength.beyond_declared": Check(
        Suspect.OVER, _BLOCK, "a pattern makes a module far stronger than lora_alpha and r seem to say", _STRENGTH,
        CONFIG_FILE, most=8.0,
    ),
    "strength.magnitude": Check(
        Suspect.OVER, _BLOCK, "DoRA's magnitudes make a weight of the base much longer than it is", _STRENGTH,
        WEIGHTS_FILE, most=4.0,
    ),
    "strength.overlaps": Check(
        Suspect.FILLED, _BLOCK, "patterns that say different things of one module: which counts is a matter of order",
        _STRENGTH, CONFIG_FILE,
    ),
    "weights.missing_head": Check(
        Suspect.FILLED, _BLOCK, "the head that it was trained with is not in the file: each load would begin at random",
        "ask the publisher to save it again with its head (task_type SEQ_CLS, or modules_to_save)", WEIGHTS_FILE,
        unseen=_UNSTATED,
    ),
    "base.task": Check(Suspect.FILLED, _BLOCK, "made for another task than the base's", _TASK, CONFIG_FILE),
    "weights.beside": Check(
        Suspect.FILLED, _LOOK, "holds embeddings in full, as PEFT saves them: certify compares them with the base's",
        "declare the base in peft-assay.yaml, then: peft-assay certify {source}", WEIGHTS_FILE,
        unseen=_UNSTATED,
    ),
    "reach.vocabulary": Check(
        Suspect.FILLED, _LOOK, "adds tokens to the base's vocabulary",
        "see them in the scan: peft-assay report {source}", WEIGHTS_FILE, unseen=_UNSTATED,
    ),
    "reach.new_tokens": Check(Suspect.NEVER, _LOOK, "", "", WEIGHTS_FILE, asks_project=True),
    "reach.altered_rows": Check(
        Suspect.POSITIVE, _BLOCK, "rows of the base's own vocabulary are other ones in its file",
        "ask for an adapter that trains only the rows of tokens that it adds", WEIGHTS_FILE, asks_project=True,
    ),
    "tokenizer.added": Check(Suspect.NEVER, _LOOK, "", "", "tokenizer.json"),
    "tokenizer.differences": Check(
        Suspect.FILLED, _LOOK, "its tokenizer is another than the base's, appended tokens aside",
        "serve the base's tokenizer, or ask for one that only appends tokens", "tokenizer.json", asks_project=True,
    ),
    "reach.head": Check(Suspect.NEVER, _LOOK, "", "", WEIGHTS_FILE, unseen=_UNSTATED),
    "reach.full_weights": Check(
        Suspect.FILLED, _BLOCK, "replaces parts of the base in full instead of adding to them",
        "ask for one without bias, token rows of the base and modules_to_save but its head, or allow exactly these",
        CONFIG_FILE,
    ),
    "stack.unsupported": Check(
        Suspect.FILLED, _BLOCK, "the engine cannot serve it as it is", _ENGINE, CONFIG_FILE,
        unseen=_UNSTATED,
    ),
    "pickles.fickling": Check(
        Suspect.FILLED, _LOOK, "what fickling reads in its pickles; LIKELY_SAFE is no clearance",
        "ask the publisher for safetensors", unseen=_UNSTATED, unseen_sentence="fickling did not look at pickles",
    ),
    "pickles.modelscan": Check(
        Suspect.FILLED, _LOOK, "what modelscan reads in its pickles; NO_ISSUES is no clearance",
        "ask the publisher for safetensors", unseen=_UNSTATED, unseen_sentence="modelscan did not look at pickles",
    ),
    "stack.locked": Check(Suspect.NEVER, _LOOK, "", "", asks_project=True),
    "stack.resolves": Check(
        Suspect.FALSE, _LOOK, "what it needs cannot be installed beside what the lock pins",
        "serve it from an environment of its own, or ask the publisher for an adapter made with your versions",
        asks_project=True,
    ),
    "stack.requirements": Check(Suspect.NEVER, _LOOK, "", ""),
    "stack.unmet": Check(
        Suspect.FILLED, _BLOCK, "needs what the serving environment does not have",
        "serve with the versions it names and lock them, or ask the publisher for an adapter made with yours",
        asks_project=True,
    ),
    "prompt.room": Check(Suspect.NEVER, _LOOK, "", "", CONFIG_FILE, asks_project=True),
    "artifact.unexpected_files": Check(
        Suspect.FILLED, _LOOK, "files beside weights, configuration, card and licence: engines read some unasked",
        "delete what serving does not need, and read the rest",
    ),
    "delta.zero_modules": Check(
        Suspect.FILLED, _LOOK, "modules whose update is exactly zero: they serve the base",
        "ask the publisher whether they were trained; an adapter that is all zero was not", WEIGHTS_FILE,
    ),
    "publisher.identity": Check(
        Suspect.NEVER, _UNSTATED, "",
        "ask the publisher to sign it, or declare its key or identity under publishers in peft-assay.yaml",
        "model.sig", _UNSTATED, "nobody whom you know has signed it",
    ),
    "publisher.signature": Check(
        Suspect.NEVER, _UNSTATED, "", "", "model.sig", _UNSTATED, "whether it is signed",
    ),
    "rights.licence": Check(
        Suspect.NEVER, _UNSTATED, "", _LICENCE, CARD_FILE, _UNSTATED, "no licence that can be identified",
    ),
    "rights.licence_commercial": Check(
        Suspect.FALSE, _LOOK, "its licence does not permit commercial use",
        "use it for other purposes only, or ask the publisher for a licence", CARD_FILE, _UNSTATED,
        "whether commercial use is permitted is not known",
    ),
    "rights.datasets_commercial": Check(
        Suspect.FALSE, _LOOK, "was trained on data whose licence does not permit commercial use", _DATASETS, CARD_FILE,
        _UNSTATED, "what it was trained on is not known",
    ),
    "rights.commercial_use": Check(Suspect.NEVER, _LOOK, "", "", asks_project=True),
    "rights.base_licence_commercial": Check(
        Suspect.FALSE, _LOOK, "the base's licence does not permit commercial use", "", asks_project=True
    ),
    "base.claims": Check(
        Suspect.FILLED, _LOOK, "the base that it says it was made for", _BASE, CONFIG_FILE,
        codes=dict.fromkeys(("unnamed", "named-by-card-alone", "no-revision"), _UNSTATED),
    ),
    "card.gaps": Check(
        Suspect.FILLED, _UNSTATED, "what the model card leaves open",
        "ask the publisher to fill the card in; nobody has checked what it claims", CARD_FILE,
        codes={"claims-results": _LOOK, **dict.fromkeys(
            ("no-card", "no-metadata", "no-licence", "no-datasets", "licence-not-one", "licence-placeholder",
             "licence-unknown"), ELSEWHERE)},
    ),
    "config.unusual": Check(
        Suspect.FILLED, _LOOK, "settings that are valid, and that not every engine or reader expects",
        "check that your engine does the same with them as PEFT does", CONFIG_FILE,
        codes={"saves-in-full": ELSEWHERE},
    ),
    "artifact.companions": Check(
        Suspect.FILLED, _LOOK, "files beside the adapter that an engine or a person may take for part of it",
        "delete what serving does not need, and read the rest",
    ),
    "delta.relative_norm": Check(Suspect.NEVER, _LOOK, "", "", WEIGHTS_FILE, asks_project=True),
    **{
        f"rights.grants.{grant}": Check(
            Suspect.FALSE, _LOOK, f"adapter, data or base do not permit {what}", _SETTLE, CARD_FILE, asks_project=True
        )
        for grant, what in (
            ("commercial", "commercial use"), ("derivatives", "modified versions"),
            ("redistribution", "passing copies on"), ("hosted", "offering it as a service"),
        )
    },
    "rights.lineage_conflicts": Check(
        Suspect.FILLED, _LOOK, "what is declared contradicts itself, or is looser than the base's licence",
        "ask the publisher which holds; until then the stricter one does", CARD_FILE,
    ),
    "rights.candidates": Check(
        Suspect.FILLED, _UNSTATED, "a licence text that nobody declared in the card",
        "read it, and record it in peft-assay.yaml under rights.declared if it holds", "LICENSE",
    ),
    "rights.gated": Check(
        Suspect.FILLED, _LOOK, "its owner asks for agreement to terms first",
        "have somebody who may accept them read and accept them", asks_project=True,
    ),
    "rights.cleared": Check(Suspect.NEVER, _LOOK, "", "", asks_project=True),
    "rights.obligations": Check(Suspect.NEVER, _LOOK, "what its licences ask for", "", CARD_FILE),
    "rights.use_restrictions": Check(
        Suspect.FILLED, _LOOK, "restrictions on use that come with its licences",
        "read them, and check that your purpose is not among what they forbid", CARD_FILE,
    ),
    "rights.undisclosed": Check(Suspect.NEVER, _UNSTATED, "", "", CARD_FILE),
    "rights.unknown_nodes": Check(Suspect.NEVER, _UNSTATED, "", "", CARD_FILE),
    "rights.unpinned": Check(Suspect.NEVER, _UNSTATED, "", "", CONFIG_FILE),
    "withdrawn.crafted": Check(Suspect.NEVER, _LOOK, "", "", WEIGHTS_FILE, asks_project=True),
    "withdrawn.near": Check(Suspect.NEVER, _LOOK, "", "", WEIGHTS_FILE, asks_project=True),
    "context.prompt_tokens": Check(Suspect.NEVER, _LOOK, "", "", asks_project=True),
    "context.answer_tokens": Check(Suspect.NEVER, _LOOK, "", "", asks_project=True),
    "context.production": Check(Suspect.NEVER, _LOOK, "", "", asks_project=True),
    "context.maximum_age_hours": Check(Suspect.NEVER, _LOOK, "", "", asks_project=True),
}  # fmt: skip


def check_for(name: str, value: Value | None) -> Check:
    """How to read `name`; one that is not in the table by the type of its value.

    A list that is not empty and a boolean that is false are worth a look; numbers and texts are measures.
    """
    known = CHECKS.get(name)
    if known is not None:
        return known
    match value:
        case tuple():
            suspect = Suspect.FILLED
        case bool() | None:
            suspect = Suspect.FALSE
        case _:
            return _measure(name)
    meaning = _MEANINGS.get(name, name)
    return Check(suspect, _LOOK, _sentence(suspect, meaning), "see what it is about: {page}", file_of(name))


def _sentence(suspect: Suspect, meaning: str) -> str:
    return meaning if suspect is Suspect.FILLED else f"not so: {meaning}"


def is_suspicious(check: Check, value: Value) -> bool:
    """Whether `value` is a finding."""
    match check.suspect:
        case Suspect.FILLED:
            return isinstance(value, tuple) and bool(value)
        case Suspect.POSITIVE:
            return not isinstance(value, bool | str | tuple) and value > 0
        case Suspect.OVER:
            return not isinstance(value, bool | str | tuple) and value > check.most
        case Suspect.TRUE:
            return value is True
        case Suspect.FALSE:
            return value is False
    return False
