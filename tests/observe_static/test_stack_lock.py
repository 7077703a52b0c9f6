"""What the adapter says it needs against what the lock of the serving environment has: unknown is never met."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import CARD, CONTEXT, config, observed
from peft_assay.core.context import Engine
from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import Status
from peft_assay.observe.interface import BaseFacts, StaticContext
from peft_assay.observe.locks import read_lock

LOCKED = {"peft": "0.21.2", "torch": "2.13.0", "transformers": "5.23.0"}
PYLOCK = """
lock-version = "1.0"
created-by = "a test"

[[packages]]
name = "peft"
version = "0.21.2"
sdist = { name = "peft-0.21.2.tar.gz", url = "https://example.org/p.tar.gz", hashes = { sha256 = "00" } }

[[packages]]
name = "pywin32"
version = "311"
marker = "sys_platform == 'win32'"
sdist = { name = "pywin32-311.tar.gz", url = "https://example.org/w.tar.gz", hashes = { sha256 = "00" } }
"""


def _context(locked=LOCKED, **fields):
    return StaticContext(Engine("peft", "float32", 32), CONTEXT.datasets, "mit", locked=locked, **fields)


def _unmet(*, requirements=None, card=CARD, locked=LOCKED, **fields):
    files = None if requirements is None else {"requirements.txt": requirements.encode()}
    return observed(
        "stack.unmet", configuration=config(**fields), card=card, files=files, context=_context(locked)
    )  # fmt: skip


def test_a_pep_751_lock_gives_what_is_installed_here():
    assert read_lock(PYLOCK.encode(), where="env/pylock.toml") == {"peft": "0.21.2"}
    assert read_lock(PYLOCK.encode(), where="pylock.serving.toml") == {"peft": "0.21.2"}


def test_pins_as_pip_freeze_and_uv_write_them():
    text = (
        "# made by a tool\n--index-url https://example.org/simple\nPEFT==0.21.2 \\\n    --hash=sha256:00 \\\n"
        "    --hash=sha256:01\ntorch==2.13.0+cpu  # a comment\npywin32==311 ; sys_platform == 'win32'\n"
    )
    assert read_lock(text.encode(), where="requirements.lock") == {"peft": "0.21.2", "torch": "2.13.0+cpu"}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("r.txt", b"peft>=0.21\n", "line 1: peft is not pinned"),
        ("r.txt", b"peft==0.21.*\n", "not pinned"),
        ("r.txt", b"peft @ https://example.org/peft.whl\n", "not pinned"),
        ("r.txt", b"\npeft==0.21.2\npeft==0.20.0\n", "line 3: peft is pinned to two versions"),
        ("r.txt", b"-r other.txt\n", "names another file"),
        ("r.txt", b"-e .\n", "names another file"),
        ("r.txt", b"what is this\n", "is no requirement"),
        ("r.txt", b"# nothing\n", "locks nothing"),
        ("r.txt", b"\xff", "UTF-8"),
        ("lock.toml", PYLOCK.encode(), "is called pylock.toml"),
        ("pylock.toml", b"lock-version = '1.0'", "no lock"),
        ("pylock.toml", b"[", "no lock"),
        ("pylock.toml", b"a=" + b"[" * 20_000, "nested too deep"),
        ("pylock.toml", b"a=" + b"{a=" * 20_000, "nested too deep"),
        ("pylock.toml", PYLOCK.replace("sys_platform == 'win32'", "'a' == 'a'").encode(), "no lock"),
        ("r.txt", b"peft==1; os_name ~= 'x'\n", "line 1: has a marker of which nobody can say"),
        ("r.txt", b"peft==1; 'x' in extras\n", "line 1: has a marker of which nobody can say"),
        ("r.txt", b"peft==1; " + b"(" * 5_000 + b"os_name == 'x'" + b")" * 5_000, "line 1: is no requirement"),
        ("pylock.toml", PYLOCK.replace('"1.0"', '"2.0"').encode(), "no lock"),
        ("pylock.toml", PYLOCK.replace('\nversion = "0.21.2"', "").encode(), "packages.peft: has no version"),
        ("pylock.toml", PYLOCK.replace("lock-version", 'requires-python = ">=99"\nlock-version').encode(), "no lock"),
    ],
)  # fmt: skip
def test_what_leaves_anything_open_is_no_lock(name, content, why):
    with pytest.raises(DocumentError) as refused:
        read_lock(content, where=name)
    assert why in f"{refused.value.where}: {refused.value.message}"


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=120) | st.text(max_size=120).map(lambda text: text.encode()),
    st.sampled_from(["pylock.toml", "r.txt"]),
)
def test_no_bytes_are_half_a_lock(content, name):
    try:
        locked = read_lock(content, where=name)
    except DocumentError:
        return
    assert locked
    assert all(version for version in locked.values())


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, ()),
        ({"peft_version": "0.18.0"}, ()),
        ({"peft_version": "0.21.3"}, ("peft>=0.21.3 (adapter_config.json: peft_version): the lock has 0.21.2",)),
        ({"peft_version": "0.21.3.dev0@abc123"},
         ("peft>=0.21.3.dev0 (adapter_config.json: peft_version): the lock has 0.21.2",)),
        ({"requirements": "transformers>=5,<6  # comment\n\n# more\nTorch>=2\n"}, ()),
        ({"requirements": "flash-attn==2.7\n"},
         ("flash-attn==2.7 (requirements.txt: line 1): the lock has no flash-attn",)),
        ({"requirements": "pywin32; sys_platform == 'win32'\ntransformers[torch]>=5\n"}, ()),
        ({"card": CARD.replace("license", "library_name: peft\nlicense") + "\n### Framework versions\n\n- PEFT 0.99.0\n"},
         ("peft>=0.99.0 (README.md: framework versions): the lock has 0.21.2",)),
        ({"card": CARD.replace("license", "library_name: diffusers\nlicense")},
         ("diffusers (README.md: library_name): the lock has no diffusers",)),
        ({"card": None}, ()),
    ],
)  # fmt: skip
def test_what_is_needed_and_not_there_is_named(arguments, found):
    assert _unmet(**arguments).value == found


@pytest.mark.parametrize(
    "arguments",
    [
        {"peft_version": "soon"},
        {"requirements": "--index-url https://example.org\n"},
        {"requirements": "-r /etc/passwd\n"},
        {"requirements": "x @ https://example.org/x.whl\n"},
        {"requirements": "x; extra == 'y'\n" * 1_001},
        {"requirements": "x>=1" + "0" * 600},
        {"requirements": "a b c\n"},
    ],
)
def test_what_cannot_be_told_is_not_met(arguments):
    observation = _unmet(**arguments)
    assert observation.status is Status.FAILED
    assert "requirements" in str(observation.reason)


def test_without_a_lock_nothing_is_compared_and_needs_are_still_told():
    assert _unmet(locked=None).status is Status.NOT_APPLICABLE
    assert observed("stack.locked", context=_context(None)).value is False
    assert observed("stack.locked", context=_context()).value is True
    told = observed("stack.requirements", configuration=config(peft_version="0.18.0"), context=_context(None))
    assert told.value == ("peft>=0.18.0 (adapter_config.json: peft_version)",)


@pytest.mark.parametrize(
    ("peft_type", "fields", "room"),
    [
        ("LORA", {}, 100),
        ("PROMPT_TUNING", {"num_virtual_tokens": 20}, 80),
        ("PREFIX_TUNING", {"num_virtual_tokens": 100}, 0),
        ("P_TUNING", {"num_virtual_tokens": 4_000}, 0),
        ("CPT", {"num_virtual_tokens": None, "cpt_token_ids": [1, 2, 3]}, 97),
    ],
)
def test_soft_prompts_take_room_from_prompts(peft_type, fields, room):
    context = _context(base=BaseFacts(positions=100))
    assert observed("prompt.room", configuration=config(peft_type, **fields), context=context).value == room


def test_room_that_nobody_can_tell_is_not_told():
    unsaid = _context(base=BaseFacts())
    assert observed("prompt.room", context=unsaid).status is Status.FAILED
    odd = config("PROMPT_TUNING", num_virtual_tokens="20")
    assert (
        observed("prompt.room", configuration=odd, context=_context(base=BaseFacts(positions=9))).status
        is Status.FAILED
    )
    assert observed("prompt.room", context=_context()).status is Status.NOT_APPLICABLE
