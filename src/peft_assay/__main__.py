"""`python -m peft_assay` is the command line."""

from peft_assay.cli.main import main

main()
