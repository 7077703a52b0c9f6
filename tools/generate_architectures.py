"""Generates src/peft_assay/pipeline/architectures.json from transformers' own tables (needs the `sandbox` extra).

For each model type of transformers: the class that each kind of base is loaded as, where there is one. For the classes
of other kinds of models: what they are for, in words.

    python tools/generate_architectures.py            # writes the table
    python tools/generate_architectures.py --check    # exit 1 when the committed table differs
"""

import argparse
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

TABLE = Path(__file__).parent.parent / "src/peft_assay/pipeline/architectures.json"
TASKS = {
    "causal-lm": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "seq2seq-lm": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
    "seq-cls": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
}
OTHERS = {
    "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES": "writes down speech",
    "MODEL_FOR_CTC_MAPPING_NAMES": "writes down speech",
    "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES": "sorts sounds into classes",
    "MODEL_FOR_TEXT_TO_WAVEFORM_MAPPING_NAMES": "speaks texts",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES": "writes about images",
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES": "sorts images into classes",
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": "fills masked words (an encoder)",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES": "labels each token",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES": "marks answers in a text",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING_NAMES": "chooses between texts",
    "MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING_NAMES": "says whether two sentences belong together",
    "MODEL_MAPPING_NAMES": "gives embeddings and has no head",
}
"""In this order: the first that names a class says what it is."""


def made() -> dict[str, object]:
    """Return the table as transformers, as installed, has it."""
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    def classes(name: str) -> Mapping[str, object]:
        found: Mapping[str, object] = getattr(modeling_auto, name)
        return found

    tasks = {task: {kind: str(one) for kind, one in sorted(classes(name).items())} for task, name in TASKS.items()}
    ours = {one for mapping in tasks.values() for one in mapping.values()}
    others: dict[str, str] = {}
    for name, meaning in OTHERS.items():
        for one in classes(name).values():
            for single in [one] if isinstance(one, str) else list(one):  # type: ignore[call-overload]
                if single not in ours:
                    others.setdefault(str(single), meaning)
    return {
        "transformers": version("transformers"),
        "modelTypes": sorted(CONFIG_MAPPING_NAMES),
        "tasks": tasks,
        "encoders": sorted(classes("MODEL_FOR_MASKED_LM_MAPPING_NAMES")),
        "others": dict(sorted(others.items())),
    }


def main() -> int:
    """Write the table, or compare it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    text = json.dumps(made(), indent=0, sort_keys=True) + "\n"
    if parser.parse_args().check:
        return int(not TABLE.exists() or TABLE.read_text() != text)
    TABLE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
