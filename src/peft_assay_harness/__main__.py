"""``python -m peft_assay_harness``: the worker that exercises adapters on one base."""

import sys

from peft_assay_harness.prepare import prepare
from peft_assay_harness.zygote import run

if __name__ == "__main__":
    sys.exit(run(prepare))
