"""Which optional parts of peft-assay are installed. Works on every system, and imports none of them."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from peft_assay.report.diagnosis import Extra

EXTRAS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "sandbox": (
        "observe adapters: certify",
        ("landlockpy", "peft", "pyseccomp", "safetensors", "torch", "transformers"),
    ),
    "runtime": ("activate in the serving process", ("peft", "safetensors", "torch", "transformers")),
    "hub": ("sources of the Hub: hf://", ("huggingface-hub",)),
    "scanners": ("a second opinion on pickles", ("fickling",)),
    "modelscan": ("another opinion on pickles", ("modelscan",)),
    "keyless": ("publishers by a Sigstore: publishers.NAME.trustRoot", ("sigstore",)),
    "resolver": ("context.stack.resolve", ("uv",)),
    "lm-eval": ("tasks of lm-evaluation-harness on this engine", ("lm_eval", "peft-assay", "tokenizers")),
    "objects": ("sources in object stores: s3:// gs:// az://", ("obstore",)),
}
"""Extra -> what it is for, and its distributions, as pyproject.toml has them."""


def extras() -> tuple[Extra, ...]:
    """One for each part, installed or not."""
    found = []
    for name, (purpose, distributions) in EXTRAS.items():
        versions = {each: known for each in distributions if (known := _version(each)) is not None}
        absent = tuple(each for each in distributions if each not in versions)
        found.append(Extra(name, purpose, versions, absent, f"pip install 'peft-assay[{name}]'"))
    return tuple(found)


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
