"""Whatever is typed: an exit code of the table, words on stderr, no traceback, nothing that moves a terminal."""

import os
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peft_assay.core.errors import Door

pytestmark = pytest.mark.sandbox
COMMANDS = ("inspect", "init", "certify", "verify", "revoke", "report")


def sound(done):
    assert done.code in set(Door) - {Door.BUG}, done
    both = done.out + done.err
    assert "Traceback" not in both
    assert "bug in peft-assay" not in both
    hidden = {c for c in both if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}}
    assert not hidden
    if done.code not in {0, 2} and not done.out:
        assert done.err
    return done


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "rest",
    [
        [""],
        ["\x1b[2J\u202e"],
        ["a\nb"],
        ["--format"],
        ["--format", "yaml", "x"],
        ["--context"],
        ["--context", ""],
        ["--context", "peft-assay.yaml\0", "x"],
        ["--context", "adapters", "x"],
        ["--trust", "gone", "x"],
        ["--workspace", "gone", "x"],
        ["--workspace", "peft-assay.yaml", "x"],
        ["--", "--help"],
        ["x" * 5000],
        ["/dev/null"],
        ["/dev/zero"],
        ["/proc/self/mem"],
        ["."],
        ["/"],
        ["sha256:" + "0" * 64],
        ["-1"],
        ["\udcff"],
    ],
)
def test_bad_command_lines(pristine, tmp_path, command, rest):
    """In a folder of its own: `init` may make what it is told to make there, and nothing else is written."""
    if command == "init" and rest in (["/"], ["."], ["/dev/null"]):
        pytest.skip("would make a project of the machine")
    arguments = [command, *rest, *(["--reason", "r"] if command == "revoke" else [])]
    sound(elsewhere(pristine, tmp_path, arguments))


def elsewhere(world, folder, arguments):
    from pipeline.certified_world import copy_of

    return copy_of(world, folder / "w").run(*arguments)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                "--plan",
                "--format",
                "json",
                "--list",
                "--lift",
                "--refresh",
                "--fresh",
                "--scope",
                "adapter",
                "--reason",
                "r",
                "gone",
                "",
                "-o",
                "--help",
                "--version",
                "\u202e",
            ]
        ),
        max_size=5,
    ),
    st.sampled_from(["inspect", "verify", "revoke"]),
)
def test_any_mixture_of_words(world, words, command):
    sound(world.run(command, *words))


def test_names_and_reasons_of_others_do_not_move_the_terminal(world):
    from pathlib import Path

    card = Path(world.adapter("no-licence")) / "README.md"
    card.write_text('---\nlicense: "mit\\e[31m\\u202e"\n---\n')
    config = Path(world.adapter("no-licence")) / "adapter_config.json"
    config.write_text(config.read_text().replace('"peft_type"', '"\\u001b]0;owned\\u0007": 1, "peft_type"', 1))
    sound(world.run("inspect", world.adapter("no-licence")))
    done = sound(world.run("revoke", world.adapter("no-licence"), "--reason", "bad\x1b[2J\u202eword"))
    assert "\\x1b[2J\\u202eword" in done.out
    sound(world.run("revoke", "--list"))
    assert "\x1b" not in sound(world.run("verify", world.adapter("no-licence"))).out


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_in_place_of_a_file(world, name):
    from pathlib import Path

    path = Path(world.adapter("lora")) / name
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")
    assert sound(world.run("inspect", world.adapter("lora"))).code in (0, 3)
    assert sound(world.run("verify", world.adapter("lora"))).code in (3, 12)


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_refused(world):
    from pathlib import Path

    path = Path(world.adapter("lora")) / "adapter_model.safetensors"
    path.chmod(0)
    assert sound(world.run("inspect", world.adapter("lora"))).code == 3


@pytest.mark.parametrize("spoil", ["empty", "text", "folder", "newer", "gone"])
def test_a_workspace_that_is_none(world, spoil):
    import shutil
    import sqlite3

    database = world.project / ".peft-assay" / "assay.db"
    for extra in database.parent.glob("assay.db-*"):
        extra.unlink()
    if spoil == "newer":
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.close()
    elif spoil == "gone":
        shutil.rmtree(database.parent)
    else:
        database.unlink()
        {
            "empty": lambda: database.write_bytes(b""),
            "text": lambda: database.write_text("x" * 5000),
            "folder": database.mkdir,
        }[spoil]()
    for command in (["verify", world.adapter("lora")], ["report"], ["revoke", "--list"]):
        done = sound(world.run(*command))
        expected = (
            {74, 11, 2} if spoil != "empty" else {0, 2, 12}
        )  # an empty file is a new workspace: nothing is certified
        assert done.code in expected, done
    assert world.run("verify", world.adapter("lora")).code != 0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(pristine, command):
    done = sound(pristine.run(command, "--help"))
    assert done.code == 0
    assert "Usage:" in done.out
    assert "--format" in done.out


def test_help_and_version_and_nothing():
    import contextlib
    import io

    from peft_assay import __version__
    from peft_assay.cli.main import run

    for arguments, code, says in (([], 2, "Usage:"), (["--help"], 0, "Exit codes"), (["--version"], 0, __version__)):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            assert run(arguments) == code
        assert says in out.getvalue()
    for command in COMMANDS:
        assert command in run_help()


def run_help():
    import contextlib
    import io

    from peft_assay.cli.main import run

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(["--help"])
    return out.getvalue()


def test_a_reader_that_goes_away_is_no_traceback(pristine):
    import subprocess
    import sys

    from pipeline.certified_world import ZOO

    script = f"{sys.executable} -m peft_assay inspect {ZOO}/adapters/lora --format json | head -c 1"
    environment = {"PYTHONPATH": str(ZOO.parents[1] / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    ("spoil", "door", "says"),
    [
        (lambda w: w.edit("dtype: float32", "dtype: float31"), 2, "context.engine.dtype"),
        (lambda w: w.edit("path: ./base", "path: ./gone"), 2, "context.base.path"),
        (lambda w: w.document.unlink(), 2, "peft-assay.yaml"),
        (lambda w: (w.trust / "trust.yaml").unlink(), 11, "trust.yaml"),
        (lambda w: (w.trust / "trust.yaml").chmod(0o666), 11, "written by other users"),
    ],
)
def test_an_error_names_its_place_and_one_next_step(world, spoil, door, says):
    spoil(world)
    done = sound(world.run("verify", world.adapter("lora")))
    assert done.code == door
    assert says in done.err
    assert done.err.count("\n  next: ") == 1
