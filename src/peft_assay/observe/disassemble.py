"""Run as a process of its own: a pickle on standard input, fickling's severity and first finding on standard output.

The pickle may stand alone, or in the zip that torch.save writes (``*/data.pkl``). Nothing is unpickled.
"""

import io
import json
import sys
import zipfile

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


def main() -> int:
    """Writes ``[severity, finding]``; gives 1 when the pickle cannot be read."""
    from fickling.analysis import check_safety
    from fickling.fickle import Pickled

    results = check_safety(Pickled.load(pickle_in(sys.stdin.buffer.read())))
    worst = max(results.results, key=lambda result: result.severity, default=None)
    message = "" if worst is None else " ".join(str(worst.message).split())[:MAX_FINDING]
    sys.stdout.write(json.dumps([results.severity.name, message]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
