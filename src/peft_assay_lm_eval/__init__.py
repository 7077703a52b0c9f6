"""lm-evaluation-harness on the engine that certifies: its tasks, behind the sandbox's walls (extra ``lm-eval``).

lm-evaluation-harness (0.4.13) finds no models by entry point, so ours is registered by whoever imports this package:
``python -m peft_assay_lm_eval run --model peft-assay ...`` is its own command line with the model in it, and
`simple_evaluate` takes ``model="peft-assay"`` after ``import peft_assay_lm_eval``.
"""

from lm_eval.api.registry import model_registry

NAME = "peft-assay"

if NAME not in model_registry:
    model_registry.register(NAME, target="peft_assay_lm_eval.model:AssayLM")
