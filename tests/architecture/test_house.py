"""The house's rules, read from the code itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
HOUSE = SRC / "peft_assay"
ROOMS = ("intake", "observe", "sandbox", "evaluate", "certify", "gate", "runtime", "report")
WITHOUT_INTERFACE = {
    "certify": "two functions over values of trust; it defines no nouns of its own",
    "runtime": "its one noun, ActiveAdapter, is inseparable from the act that makes it; its Protocol is core's Authorizer",
}
HEAVY = ("torch", "transformers", "peft", "safetensors", "peft_assay_harness", "peft_assay_loading")
PURE = ("core", "evaluate", "gate")


def modules(*folders):
    return [path for folder in folders for path in sorted((HOUSE / folder).rglob("*.py"))]


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(node):
    match node:
        case ast.Attribute():
            return f"{dotted(node.value)}.{node.attr}"
        case ast.Name():
            return node.id
    return ""


def test_import_contracts_hold(tmp_path):
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("path", modules(*PURE), ids=lambda path: str(path.relative_to(HOUSE)))
def test_foundation_evaluation_and_gate_read_no_clock_and_no_file(path):
    forbidden_calls = {"open", "input", "print", "exec", "eval", "compile", "__import__"}
    if path.name == "builtin.py":
        forbidden_calls = forbidden_calls - {"open"}  # reads the policies that are part of the package
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            assert called not in forbidden_calls, f"{path.name}:{node.lineno} calls {called}"
            assert called.rsplit(".", 1)[-1] not in {"now", "utcnow", "today", "monotonic", "perf_counter", "getenv"}, (
                f"{path.name}:{node.lineno} calls {called}"
            )
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            assert not {name.split(".")[0] for name in names} & {
                "time",
                "random",
                "os",
                "pathlib",
                "subprocess",
                "socket",
            }


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_has_its_interface_or_a_reason(room):
    assert (HOUSE / room / "interface.py").is_file() != (room in WITHOUT_INTERFACE)


def test_the_rooms_are_the_ones_named_here():
    found = {path.name for path in HOUSE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found == {*ROOMS, "cli", "pipeline", "trust", "store", "fingerprint", "core"}


@pytest.mark.parametrize("path", modules("."), ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_pickle_no_swallowed_exception_no_truth_value(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            caught = {dotted(kind) for kind in kinds}
            silent = all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
            assert not (silent and caught & {"", "Exception", "BaseException"}), f"{path.name}:{node.lineno}"
        if isinstance(node, ast.FunctionDef):
            assert node.name != "__bool__", f"{path.name}:{node.lineno}"
        if isinstance(node, ast.Attribute):
            assert dotted(node) not in {"yaml.safe_load", "yaml.unsafe_load", "yaml.full_load"}, (
                f"{path.name}:{node.lineno}"
            )


def loaded_after(code):
    """Heavy modules in a fresh interpreter after `code`; asserts that it ran."""
    script = f"import sys\n{code}\nprint('LOADED', [n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.rsplit("LOADED ", 1)[1].strip()


LIGHT = {
    "the command line": "import peft_assay.cli.main",
    "the gate": "import peft_assay.gate.authorize",
    "the pipeline": "import peft_assay.pipeline.certify, peft_assay.pipeline.verify, peft_assay.pipeline.reporting",
    "activate, until it is called": "from peft_assay import activate",
    "inspect": (
        "from peft_assay.cli.main import run\n"
        "assert run(['inspect', 'examples/zoo/adapters/lora']) == 0\n"
        "assert run(['inspect', 'examples/zoo/adapters/pickle-weights', '--format', 'json']) == 0"
    ),
}


@pytest.mark.parametrize("what", LIGHT)
def test_the_base_install_never_meets_torch(what):
    assert loaded_after(LIGHT[what]) == "[]"


def test_the_command_line_starts_without_scipy_and_a_database():
    script = "import sys, peft_assay.cli.main; print([n for n in ('scipy', 'numpy', 'sqlalchemy', 'alembic') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True,
        env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
