"""The harness protocol as a page: the docstrings of core/wire.py, which are the contract."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src" / "peft_assay" / "core" / "wire.py"

CLOSING = """## What an engine keeps

`src/peft_assay_harness/engines/interface.py` is the Protocol behind these requests, with one implementation for each
`task`: `causal-lm`, `seq2seq-lm`, `seq-cls` (which answers `load`, `measure`, `effect`, `scale` and `classify` only).
In float32:

- An answer does not depend on what else is asked with it: log-probabilities within 1e-4, greedy tokens exactly, what is
  drawn by seed and prompt alone. It is what PEFT's own forward and generate give for one text at a time.
- Choices after one context are computed as branches of one row. For each adapter that is put on, the first such row is
  compared with a plain one (1e-4 in float32, 0.25 per token in half precision); where they differ, or the adapter type
  or the architecture cannot do it (virtual tokens, activated LoRA, adaption prompts, recurrent models, rows longer than
  a sliding window), rows are computed plainly. Half precision is coarse: what is close to call is asked again with
  `precise`.
- A draft is seen in the same pass as the prompt. What the model would have answered itself is kept, and it goes on from
  its first departure. An activated LoRA is answered without taking anything over from the draft.
- Adapters act unmerged, as they are loaded. Merging into a copy of the weights saves about 8 % of the time (34M
  parameters, rank 16), but rounds every weight anew (log-probabilities differ by more than 1e-5), takes memory for each
  adapted weight, and does not exist for every type.
- PEFT's per-row `adapter_names` is never used: some adapter types ignore it without a word.
- In half precision, `precise` takes a float32 copy of base and adapter, 4 bytes for each parameter, out of the job's
  memory limit.
- A base whose files lack weights, a classification head for one, is refused: they would be random.
"""


def harness_protocol() -> str:
    """The page."""
    tree = ast.parse(SOURCE.read_text("utf-8"))
    title, _, text = (ast.get_docstring(tree) or "").partition("\n")
    classes = {
        node.name: node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    replies = [node for name, node in classes.items() if name.endswith("Reply")]
    parts = [node for name, node in classes.items() if not name.endswith("Reply")]
    sections = [*(_section(node, _operation(node)) for node in replies), *(_section(node, node.name) for node in parts)]
    return "\n".join([f"# {title.rstrip('.')}\n", _plain(text.strip()) + "\n", *sections, CLOSING])


def _operation(node: ast.ClassDef) -> str:
    field = next(item for item in node.body if isinstance(item, ast.AnnAssign))
    return re.sub(r"Literal\['(.*)'\]", r"`\1`", ast.unparse(field.annotation))


def _section(node: ast.ClassDef, title: str) -> str:
    lines = [
        f"## {title}\n",
        _plain(ast.get_docstring(node) or "") + "\n",
        "| Field | Type | Meaning |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{name}` | `{kind}` | {meaning} |" for name, kind, meaning in _fields(node) if name != "op"]
    return "\n".join(lines) + "\n"


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    for item, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            meaning = text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""
            kind = re.sub(r"Annotated\[(\w+), Field\(ge=(\d)\)\]", r"\1 >= \2", ast.unparse(item.annotation))
            yield item.target.id, kind.replace("|", "\\|"), " ".join(_plain(meaning).split())


def _plain(text: str) -> str:
    return text.replace("``", "`")
