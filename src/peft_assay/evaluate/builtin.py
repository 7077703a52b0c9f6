"""The policies that come with the package."""

from importlib.resources import files

from peft_assay.core.errors import UsageError

NAMES: tuple[str, ...] = ("default", "strict", "internal-evaluation", "research", "classifier")


def builtin_policy(name: str) -> bytes:
    """The document of the built-in policy `name`; raises UsageError when there is none of that name."""
    if name not in NAMES:
        raise UsageError(
            f"there is no built-in policy {name!r}", where="policy", next_step=f"use one of: {', '.join(NAMES)}"
        )
    return files("peft_assay.evaluate").joinpath("policies", f"{name}.yaml").read_bytes()


def builtin_fixtures(name: str) -> bytes:
    """The fixtures of the built-in policy `name`; raises UsageError when there is none of that name."""
    builtin_policy(name)
    return files("peft_assay.evaluate").joinpath("policies", f"{name}.tests.yaml").read_bytes()
