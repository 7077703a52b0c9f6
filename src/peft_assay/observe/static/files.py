"""artifact.unexpected_files: what lies beside weights, configuration, card and licence.

Some of it is harmless by itself (training logs), some changes behaviour in serving stacks that read it: a chat template
or a config.json beside an adapter is taken silently by AutoTokenizer and AutoModel.
"""

import re
from collections.abc import Iterable

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject

_EXPECTED = {CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, "adapter_model.bin", ".gitattributes"}
_LICENCE = re.compile(r"(?i)(licen[cs]e|notice|copying)([._-][a-z0-9._-]{1,40})?")


def is_licence(path: str) -> bool:
    """Whether `path` is a licence or notice beside the weights."""
    return _LICENCE.fullmatch(path) is not None


def is_expected(path: str) -> bool:
    """Whether `path` is weights, configuration, card, licence, or the Hub's own .gitattributes."""
    return path in _EXPECTED or is_licence(path)


class FilesProbe:
    """artifact.unexpected_files, in path order."""

    id = "files"
    version = "1"
    terms = ("artifact.unexpected_files",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Names only; contents are the business of other probes."""
        yield ok(self.terms[0], tuple(path for path in subject.files if not is_expected(path)), by=ObservedBy.INTAKE)
