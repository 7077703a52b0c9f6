"""What takes torch: the printed conversion of a pickled base, a cached snapshot certified, and the table of models."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peft_assay.core.errors import DocumentError, Door
from peft_assay.pipeline.architectures import table
from peft_assay.pipeline.loadable import check_base
from pipeline.bare_world import bare_world
from pipeline.certified_world import ZOO
from pipeline.test_bases import cached

TOOL = Path(__file__).parents[2] / "tools" / "generate_architectures.py"


@pytest.mark.model
def test_the_conversion_that_is_named_works(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    base = Path(shutil.copytree(ZOO / "base", tmp_path / "base"))
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()
    with pytest.raises(DocumentError) as refusal:
        check_base(base, "causal-lm")
    command = refusal.value.next_step.partition("python -c ")[2]
    done = subprocess.run(
        f"{sys.executable} -c {command}",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    check_base(Path(f"{base}-safetensors"), "causal-lm")


@pytest.mark.model
def test_the_table_of_architectures_is_that_of_the_pinned_transformers():
    pytest.importorskip("transformers")
    done = subprocess.run([sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "run tools/generate_architectures.py"
    assert table()["tasks"]["causal-lm"]["llama"] == "LlamaForCausalLM"


@pytest.mark.sandbox
@pytest.mark.parametrize("isolation", ["namespace", "landlock"])
def test_a_cached_snapshot_is_certified_like_the_folder_that_it_links_to(tmp_path, isolation):
    world = bare_world(tmp_path / "world")
    snapshot = cached(world.project / "base", world.project / "hub")
    world.edit("path: ./base", f"path: ./{snapshot.relative_to(world.project)}")
    adapter = str(ZOO / "adapters" / "lora")
    done = world.run("certify", adapter, "--isolation", isolation)
    assert done.code == Door.PASSED, done.err
    assert world.run("verify", adapter).code == Door.PASSED
