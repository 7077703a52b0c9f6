"""Writes the reviewed rights of the wild set: ``python tests/observe_static/wild_rights_golden.py``."""

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "src")]

GOLDEN = Path(__file__).with_name("wild_rights_golden.json")


def main() -> None:
    from observe_static.test_wild_rights import NAMES, rights_row

    GOLDEN.write_text(json.dumps({name: rights_row(name) for name in NAMES}, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
