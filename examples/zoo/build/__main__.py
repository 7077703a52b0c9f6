"""Entry point of `python examples/zoo/build`: fixes what makes two builds differ, then hands over to the command line."""

import os
import sys
from pathlib import Path

FIXED = {
    "PYTHONHASHSEED": "0",  # PEFT keeps target modules in a set, whose order would differ from run to run
    "OMP_NUM_THREADS": "1",  # sums are reordered with the number of threads
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}

if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in FIXED.items()):
        os.environ.update(FIXED)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    # Run as a folder, this file's own folder leads sys.path; its parent must, so that `build` is this package.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from build.command import main

    sys.exit(main(sys.argv[1:]))
