"""What a worker does before it forks: everything is there for its children, and the base is fit to be asked."""

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from peft_assay_harness import ops, prepare  # noqa: E402
from peft_assay_harness.engines import engine_for  # noqa: E402
from peft_assay_harness.identity import Refused  # noqa: E402

ROOT = Path(__file__).parents[2]
BASE = ROOT / "examples/zoo/base"

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

CHILD = """
import argparse, os, sys
from peft_assay_harness import prepare
from peft_assay_harness.ops import answer
from peft_assay_harness.session import Session

engines = []
make = prepare._engine
prepare._engine = lambda options: engines.append(make(options)) or engines[0]
ready = prepare.prepare(
    argparse.Namespace(base=sys.argv[1], dtype=sys.argv[2], device="cpu", task="causal-lm", fresh=True)
)
texts = ["the quick brown fox", "a b", "jumps over it and is gone"] * 2
shown = {"tokens": [5, 6, 7], "watch": [[1], [2], [3]]}
asked = [
    {"op": "measure", "prompts": texts},
    {"op": "effect", "prompts": texts[:3]},
    {"op": "scale", "factor": 2.0},
    *({"op": "choices", "items": [{"prompt": p, "choices": ["a", "b c"]} for p in texts], "precise": way} for way in (False, True)),
    {"op": "generate", "prompts": texts, "maxNewTokens": 6, "top": 3, "margins": True},
    {"op": "generate", "prompts": texts, "maxNewTokens": 6, "drafts": [shown] * 3 + [None] * 3, "margins": True},
    {"op": "generate", "prompts": texts, "maxNewTokens": 6, "sampling": {"temperature": 0.7, "topP": 0.8, "seed": 3}},
    {"op": "generate", "prompts": texts, "maxNewTokens": 6, "drafts": [shown] * 6, "precise": True},
    {"op": "score", "items": [{"prompt": p, "continuation": "a b c"} for p in texts]},
    {"op": "trace", "items": [{"prompt": p, "continuation": [1, 2], "watch": [[1], [2]]} for p in texts], "top": 3},
    {"op": "propose", "items": [{"prompt": p, "continuation": [1, 2], "place": 0.5} for p in texts], "top": 3},
]
for files in (None, ready.reference):
    child = os.fork()
    if child == 0:
        there = set(sys.modules)
        session = Session(engines[0], engines[0].model, files)
        for request in ([] if files is None else [{"op": "load"}]) + asked:
            answer(session, request)
        print(sorted(set(sys.modules) - there), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_child_finds_everything_imported(dtype):
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(BASE), dtype],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "[]\n[]\n", done.stderr[-2000:]


@pytest.fixture
def engine(made):
    model, tokenizer = made("llama")
    return engine_for("causal-lm", model.float(), tokenizer)


@pytest.fixture
def asked(monkeypatch):
    """Whether an adapter was there, and the operation, of all that is asked from now on."""
    kept = []
    answer = ops.answer

    def keep(session, request):
        kept.append((session.files is not None, request["op"]))
        return answer(session, request)

    monkeypatch.setattr(ops, "answer", keep)
    return kept


LANGUAGE = set(ops.OPERATIONS) - {"apply", "classify", "load"}


def test_the_reference_adapter_answers_everything_and_the_base_one_question(engine, asked):
    state, (reference, _) = prepare._warm(engine)
    assert state.startswith("sha256:")
    assert reference is not None
    assert {op for adapter, op in asked if adapter} == LANGUAGE | {"load"}
    assert [op for adapter, op in asked if not adapter] == ["score"]


def test_a_base_that_takes_no_adapter_answers_everything_itself(engine, asked, monkeypatch):
    monkeypatch.setattr(prepare, "_self_made", lambda *_: None)
    assert prepare._warm(engine)[1] is None
    assert {op for _, op in asked} == LANGUAGE


def test_a_base_that_cannot_answer_is_refused(engine, monkeypatch):
    def fail(*_):
        raise RuntimeError("no cache here")

    monkeypatch.setattr(type(engine), "generate", fail)
    with pytest.raises(Refused, match=r"cannot answer as a .*no cache here"):
        prepare._warm(engine)
