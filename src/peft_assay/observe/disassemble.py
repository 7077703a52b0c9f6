"""Run as a process of its own: a pickle on standard input, a scanner's severity and first finding on standard output.

The scanner's name is the one argument. The pickle may stand alone, or in the zip that torch.save writes
(``*/data.pkl``). Nothing is unpickled: both scanners read its instructions with pickletools or a reader of their own.
"""

import io
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

MAX_MEMBER = 64 << 20
MAX_FINDING = 200
"""Characters."""


def pickle_in(content: bytes) -> bytes:
    """The pickle itself; raises ValueError or BadZipFile when there is none that can be told."""
    if not content.startswith(b"PK"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith("data.pkl")]
        if len(members) != 1 or members[0].file_size > MAX_MEMBER:
            raise ValueError("not the one data.pkl of torch.save")
        with archive.open(members[0]) as stream:
            return stream.read(MAX_MEMBER)


def by_fickling(pickle: bytes) -> tuple[str, str]:
    """The severity of its worst analysis, and what that says."""
    from fickling.analysis import check_safety
    from fickling.fickle import Pickled

    results = check_safety(Pickled.load(pickle))
    worst = max(results.results, key=lambda result: result.severity, default=None)
    return results.severity.name, "" if worst is None else str(worst.message)


def by_modelscan(pickle: bytes) -> tuple[str, str]:
    """The severity of its worst issue, and the names that the pickle would call; raises ValueError for no pickle.

    modelscan goes by a file's suffix and passes over a plain pickle that is called .bin: it is asked of the pickle.
    """
    for heavy in ("h5py", "tensorflow"):  # it would import them, for formats that no adapter has
        sys.modules[heavy] = None  # type: ignore[assignment]
    from modelscan.model import Model
    from modelscan.scanners import PickleUnsafeOpScan
    from modelscan.settings import DEFAULT_SETTINGS, SupportedModelFormats

    model = Model("data.pkl", io.BytesIO(pickle))
    model.set_context("formats", [SupportedModelFormats.PICKLE])
    found = PickleUnsafeOpScan(DEFAULT_SETTINGS).scan(model)
    if found is None or found.errors or found.skipped:
        raise ValueError("not read to its end")
    worst = max((issue.severity for issue in found.issues), key=lambda severity: severity.value, default=None)
    if worst is None:
        return "NO_ISSUES", ""
    details: list[Any] = [issue.details for issue in found.issues if issue.severity is worst]
    return worst.name, "would call " + ", ".join(sorted(f"{each.module}.{each.operator}" for each in details))


SCANNERS: Mapping[str, Callable[[bytes], tuple[str, str]]] = {"fickling": by_fickling, "modelscan": by_modelscan}
"""By the name of the distribution, which is that of its module."""


def main() -> int:
    """Writes ``[severity, finding]``; ends otherwise when the pickle cannot be read."""
    severity, finding = SCANNERS[sys.argv[1]](pickle_in(sys.stdin.buffer.read()))
    sys.stdout.write(json.dumps([severity, " ".join(finding.split())[:MAX_FINDING]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
