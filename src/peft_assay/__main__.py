"""`python -m peft_assay` and the command `peft-assay`: the command line, with a word for who interrupts its start."""

import atexit
import gc
import sys


def main() -> None:
    """Entry point. What is imported takes most of a second, in which Ctrl-C is one, too.

    And it stays until the end: the collector would go through it again and again, and then once more.
    """
    gc.disable()
    try:
        from peft_assay.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("peft-assay: interrupted\n")
        sys.exit(130)
    gc.freeze()
    gc.enable()
    atexit.register(gc.freeze)
    run()


if __name__ == "__main__":
    main()
