"""lm-evaluation-harness's command line, in which ``--model peft-assay`` is known."""

from lm_eval.__main__ import cli_evaluate

import peft_assay_lm_eval  # noqa: F401 - registers the model

if __name__ == "__main__":
    cli_evaluate()
