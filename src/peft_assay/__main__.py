"""`python -m peft_assay` and the command `peft-assay`: the command line, with a word for who interrupts its start."""

import sys


def main() -> None:
    """Entry point. What is imported takes most of a second, in which Ctrl-C is one, too."""
    try:
        from peft_assay.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("peft-assay: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
