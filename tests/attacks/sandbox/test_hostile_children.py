"""What a child with code execution may try, through the real launcher: contained, seen, and the next job is sound."""

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

pyseccomp = pytest.importorskip("pyseccomp", reason="the sandbox extra (pyseccomp) is not installed")

from peft_assay.core.sandbox import Limits, Outcome  # noqa: E402
from peft_assay.sandbox import notify  # noqa: E402
from peft_assay.sandbox.conversation import WITHDRAWN, Conversation  # noqa: E402

pytestmark = pytest.mark.sandbox

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"
BRIEF = Limits(wall_seconds=1.5, cpu_seconds=15, memory_bytes=64 << 20, output_bytes=1 << 20)


def number(name):
    return pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)


@pytest.mark.parametrize("deed", ["loop", "sleep", "leave"])
def test_what_does_not_end_is_ended(deed, do, still_sound):
    result, replies = do({"do": deed}, limits=BRIEF)
    assert result.outcome is Outcome.TIMEOUT
    assert ("limit", "wall clock") in [(event.kind, event.detail) for event in result.events]
    assert replies == []
    assert 1.4 < result.usage.wall_seconds < 5
    assert result.usage.cpu_seconds > 0.05 or deed != "loop"
    still_sound()


def test_cpu_time_is_bounded_even_when_its_signal_is_ignored(do, still_sound):
    result, _ = do({"do": "loop"}, limits=Limits(wall_seconds=120, cpu_seconds=1, memory_bytes=64 << 20))
    assert result.outcome is Outcome.LIMIT
    assert [(event.kind, event.detail) for event in result.events] == [("limit", "cpu")]
    still_sound()


def test_memory_is_bounded(do, still_sound):
    result, _ = do({"do": "memory"})
    assert result.outcome is Outcome.LIMIT
    assert [(event.kind, event.detail) for event in result.events] == [("limit", "memory")]
    still_sound()


@pytest.mark.parametrize("deed", ["flood", "flood-errors"])
def test_output_is_bounded(deed, do, still_sound):
    result, replies = do({"do": deed})
    assert result.outcome is Outcome.OUTPUT_CAP
    assert result.usage.output_bytes < 4 << 20
    assert replies == []
    still_sound()


@pytest.mark.parametrize("length", [(1 << 20) + 1, (1 << 32) - 1])
def test_an_announced_length_beyond_the_cap_is_not_waited_for(length, do):
    result, _ = do({"do": "announce", "length": length})
    assert result.outcome is Outcome.OUTPUT_CAP
    assert result.usage.wall_seconds < 10


GOOD = {"op": "score", "logLikelihoods": [-1.0], "counts": [1]}


def scored(likelihoods: bytes, counts: bytes = b"[1]") -> bytes:
    return b'{"op": "score", "logLikelihoods": %s, "counts": %s}' % (likelihoods, counts)


FORGED = {
    "empty": b"",
    "not JSON": b"yes",
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 500 + b"]" * 500,
    "NaN": scored(b"[NaN]"),
    "infinite": scored(b"[-Infinity]"),
    "overflowing": scored(b"[1e999]"),
    "likelier than certain": scored(b"[1e308]"),
    "repeated key": b'{"op": "score", "op": "score", "logLikelihoods": [-1.0], "counts": [1]}',
    "unknown key": json.dumps(GOOD | {"verdict": "PASS"}).encode(),
    "a crowd of keys": json.dumps(GOOD | {f"k{number}": 0 for number in range(20)}).encode(),
    "missing key": b'{"op": "score", "counts": [1]}',
    "text for number": scored(b'["-1.0"]'),
    "truth for number": scored(b"[true]"),
    "too few": scored(b"[]", b"[]"),
    "too many": scored(b"[-1.0, -1.0]", b"[1, 1]"),
    "fewer counts": scored(b"[-1.0]", b"[]"),
    "a count of nothing": scored(b"[-1.0]", b"[0]"),
    "longer than the question deserves": json.dumps(GOOD).encode() + b" " * (257 << 10),
    "other answer": b'{"op": "generate", "texts": [], "tokens": []}',
    "unknown answer": b'{"op": "verdict"}',
    "control message": b'{"ended": {"status": 0, "cpu": 0}}',
    "a list": json.dumps([GOOD]).encode(),
    "invalid UTF-8": b'{"op": "score\xff", "logLikelihoods": [-1.0], "counts": [1]}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "trailing": json.dumps(GOOD).encode() + b" {}",
    "huge integer": scored(b"[" + b"9" * 6000 + b"]"),
    "huge count": scored(b"[-1.0]", b"[" + b"9" * 4000 + b"]"),
}


@pytest.mark.parametrize("kind", sorted(FORGED))
def test_a_forged_reply_is_data_that_is_refused(kind, do):
    result, replies = do({"do": "raw", "content": FORGED[kind].hex()})
    assert result.outcome is Outcome.INVALID_OUTPUT
    assert replies == []
    assert result.detail


def test_a_good_reply_sent_raw_is_accepted(do):
    result, replies = do({"do": "raw", "content": json.dumps(GOOD).encode().hex()})
    assert (result.outcome, replies) == (Outcome.OK, [GOOD])


def test_a_second_reply_that_nobody_asked_for_is_refused(do):
    assert do({"do": "twice"})[0].outcome is Outcome.INVALID_OUTPUT


def test_an_answer_given_before_its_question_is_refused(do, still_sound):
    result, replies = do({"do": "answer-ahead"}, {"do": "answer"})
    assert (result.outcome, replies) == (Outcome.INVALID_OUTPUT, [GOOD])
    assert "before anything was asked" in result.detail
    still_sound()


def test_what_one_job_wrote_is_not_quoted_as_the_next_ones_words(do, hostile):
    same, _ = do({"do": "complain", "words": "hear hear"}, {"do": "exit"})
    assert "hear hear" in same.detail, "the positive control: a child's own words are quoted"
    first, _ = do({"do": "complain", "words": "it was the next one" * 1000})
    worker = first.record["worker"]
    second, _ = do({"do": "exit"}, limits=Limits(wall_seconds=20, output_bytes=1000))
    assert (first.outcome, second.record["worker"]) == (Outcome.OK, worker), "they shared a worker"
    assert first.usage.output_bytes > 19_000
    assert second.outcome is Outcome.CRASH
    assert "next one" not in second.detail


@pytest.mark.parametrize("deed", ["half", "exit-well", "exit", "crash", "raise"])
def test_an_early_end_is_a_crash(deed, do, still_sound):
    result, replies = do({"do": deed})
    assert result.outcome is Outcome.CRASH
    assert replies == []
    still_sound()


def test_a_childs_last_words_are_quoted_on_one_line(do):
    detail = do({"do": "raise"})[0].detail
    assert "evil" in detail
    assert "\n" not in detail


SYSCALLS = {
    "socket": (1, 1, 0),
    "socketpair": (1, 1, 0),
    "memfd_create": (),
    "userfaultfd": (),
    "bpf": (),
    "keyctl": (),
    "add_key": (),
    "perf_event_open": (),
    "io_uring_setup": (),
    "process_vm_writev": (),
    "pidfd_open": (),
    "setns": (),
    "symlinkat": (),
    "mknodat": (),
    "mkdirat": (),
    "unlinkat": (),
    "renameat2": (),
    "prctl": (),
    "clone3": (),
    "execveat": (),
    "inotify_init1": (),
    "timerfd_create": (),
    "open_by_handle_at": (),
    "landlock_create_ruleset": (),
    "shmget": (),
    "mq_open": (),
    "sched_setaffinity": (),
    "tgkill": (),
}


@pytest.mark.parametrize("name", sorted(SYSCALLS))
def test_a_system_call_outside_the_allow_list_is_refused_and_named(name, do):
    if number(name) < 0:
        pytest.skip(f"{name} does not exist on {platform.machine()}")
    result, (reply,) = do({"do": "syscall", "number": number(name), "arguments": SYSCALLS[name]})
    assert reply["logLikelihoods"] == [-float(errno.EPERM)]
    assert [(event.kind, event.detail) for event in result.events] == [("refused-syscall", name)]


@pytest.mark.parametrize(
    "name", ["socket", "socketpair", "memfd_create", "process_vm_writev", "symlinkat", "mkdirat", "inotify_init1"]
)
def test_the_same_system_call_reaches_the_kernel_without_walls(name):
    output = subprocess.run(
        [sys.executable, "-m", "hostile_worker", "--direct", str(number(name)), *map(str, SYSCALLS[name])],
        env={"PYTHONPATH": f"{HERE}:{SOURCES}", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout
    assert json.loads(output) != errno.EPERM


def test_the_listener_cannot_be_passed_on_again(do, still_sound):
    result, _ = do({"do": "raw-sendmsg", "number": number("sendmsg")})
    assert result.outcome is Outcome.CRASH
    assert [event.kind for event in result.events] == ["refused-syscall"]
    still_sound()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the x32 ABI exists on x86-64 only")
def test_another_abi_is_no_way_round_the_filter(do, still_sound):
    result, _ = do({"do": "syscall", "number": 0x40000000 + 41, "arguments": [2, 1, 0]})
    assert result.events
    assert result.outcome in (Outcome.CRASH, Outcome.OK)
    still_sound()


def test_a_storm_of_refused_calls_ends_the_job(do, still_sound):
    result, _ = do({"do": "many-refused", "number": number("socket")})
    assert result.outcome is Outcome.CRASH
    assert len(result.events) == 64
    still_sound()


def test_stopping_itself_needs_a_signal_that_is_refused(do):
    result, _ = do({"do": "stop"}, limits=BRIEF)
    assert "kill" in [event.detail for event in result.events]


def test_a_child_holds_no_folder_and_no_socket(do):
    _, (reply,) = do({"do": "descriptors", "values": 3})
    folders, sockets, others = reply["logLikelihoods"]
    assert (folders, sockets) == (0.0, 0.0)
    assert -others >= 3


def test_no_secret_of_the_callers_environment_is_inside(do, hostile, monkeypatch):
    hostile._stop()
    monkeypatch.setenv("HF_TOKEN", "hf_canary_7431")
    assert any("hf_canary_7431" in value for value in os.environ.values())
    _, (reply,) = do({"do": "environment", "secret": "hf_canary_7431"})
    assert reply["logLikelihoods"] == [0.0]


def test_only_the_two_files_that_are_read_go_in(do):
    adapter = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"", "README.md": b"x", "evil.py": b"x"}
    _, (reply,) = do({"do": "files"}, adapter=adapter)
    assert reply["logLikelihoods"] == [-2.0]


def test_neither_base_nor_harness_nor_tmp_can_be_written(do, empty_base):
    before = (empty_base / "config.json").read_bytes()
    paths = [
        empty_base / "config.json",
        HERE / "hostile_worker" / "__init__.py",
        Path("/tmp/breach"),
        Path(sys.executable),
    ]
    for path in paths:
        result, (reply,) = do({"do": "write", "path": str(path)})
        assert reply["logLikelihoods"] == [0.0], path
        assert [(event.kind, event.detail) for event in result.events] == [("refused-syscall", "openat")]
    assert (empty_base / "config.json").read_bytes() == before


def test_a_child_reads_what_it_needs_and_nothing_else(do, empty_base, hostile):
    needed = (empty_base / "config.json", Path(sysconfig.get_path("purelib"), "torch", "__init__.py"))
    _, readable = do(*({"do": "read", "path": str(path)} for path in needed))
    assert [reply["logLikelihoods"] for reply in readable] == [[-1.0]] * 2
    if not hostile.attestation()["landlockAbi"]:
        pytest.skip("this kernel has no Landlock: /proc and the empty /tmp stay readable")
    hidden = (
        sys.prefix,
        "/usr",
        "/proc",
        "/proc/self/environ",
        "/proc/self/maps",
        "/tmp",
        "/dev/urandom",
        "/",
        "/etc/passwd",
    )
    _, denied = do(*({"do": "read", "path": path} for path in hidden))
    assert [reply["logLikelihoods"] for reply in denied] == [[0.0]] * len(hidden)


@pytest.mark.parametrize(
    ("moment", "seen"), [(notify.RECEIVE, WITHDRAWN), (notify.RESPOND, "socket")], ids=["received", "answered"]
)
def test_a_call_whose_caller_dies_before_it_is_dealt_with_was_attempted_all_the_same(
    moment, seen, do, still_sound, monkeypatch
):
    """The kernel takes a notification back with its caller: whoever asks for it, or answers it, is told ENOENT."""
    children, refuse, ioctl = [], Conversation._refuse, notify.fcntl.ioctl

    def noting(self, condition):
        children.append(self._child)
        refuse(self, condition)

    def late(listener, request, content):
        if request == moment and children[0] is not None:
            child, children[0] = children[0], None
            os.kill(child, signal.SIGKILL)
            while Path(f"/proc/{child}").exists():
                time.sleep(0.01)
        return ioctl(listener, request, content)

    monkeypatch.setattr(Conversation, "_refuse", noting)
    monkeypatch.setattr(notify.fcntl, "ioctl", late)
    result, replies = do({"do": "syscall", "number": number("socket"), "arguments": [2, 1, 0]})
    assert (result.outcome, replies, children[0]) == (Outcome.LIMIT, [], None)
    assert result.events[0].kind == "refused-syscall"
    assert result.events[0].detail == seen
    monkeypatch.undo()
    still_sound()
