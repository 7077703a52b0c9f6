"""weights.canonical: one reading or none."""

import copy
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import f32, lora_tensors, observed, raw, safetensors
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static import header
from peft_assay.observe.static.header import Tensor
from peft_assay.observe.static.weights import sighting_of

GOOD = safetensors(lora_tensors(), {"format": "pt"})
ONE = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
EIGHT = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'


def read_header(content: bytes) -> tuple[Tensor, ...]:
    seen = sighting_of(content)
    if seen.problem is not None:
        raise Unreadable(seen.problem)
    return seen.tensors


def test_reads_names_dtypes_shapes_and_places():
    tensors = read_header(GOOD)
    assert [t.name.rsplit(".", 2)[1] for t in tensors] == ["lora_A", "lora_B"]
    assert [(t.dtype, t.shape) for t in tensors] == [("F32", (2, 4)), ("F32", (4, 2))]
    assert GOOD[tensors[1].begin : tensors[1].end] == f32(*[0.25] * 8)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "0 bytes"),
        (b"1234567", "ends after 7 bytes"),
        (struct.pack("<Q", 1 << 40), "over the limit"),
        (struct.pack("<Q", 100) + b"{}", "cut off or no safetensors"),
        (raw("[]", b""), "begin with"),
        (raw(" " + ONE + "}", f32(1)), "begin with"),
        (raw("\ufeff" + ONE + "}", f32(1)), "begin with"),
        (raw("{}", b""), "0 tensors"),
        (raw(ONE + ',"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', f32(1)), "appears twice"),
        (raw(ONE + ',"\\u0061":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', f32(1)), "appears twice"),
        (raw(ONE.replace('"a"', '"../a\\n"') + "}", f32(1)), "characters"),
        (raw(ONE.replace("F32", "C64") + "}", f32(1)), "dtype"),
        (raw(ONE.replace('"F32"', "[]") + "}", f32(1)), "dtype"),
        (raw(ONE.replace("[1]", "[0]") + "}", f32(1)), "zero"),
        (raw(ONE.replace('"a"', '"q.lora_A"').replace("[1]", "[0]") + "}", f32(1)), "zero"),
        (raw(ONE.replace('"a"', '"q.lora_A"').replace("[1]", f"[0,{1 << 21}]") + "}", f32(1)), "zero"),
        (raw(ONE.replace('"a"', '"q.lora_A.weight"').replace("[1]", "[0,4]") + "}", f32(1)), "zero"),
        (raw(ONE.replace("[1]", "[1.0]") + "}", f32(1)), "whole numbers"),
        (raw(ONE.replace("[1]", "[true]") + "}", f32(1)), "whole numbers"),
        (raw(ONE.replace("[0,4]", "[-0,4]") + "}", f32(1)), "negative"),
        (raw(ONE.replace("[1]", f"[{1 << 62},{1 << 62}]") + "}", f32(1)), "need"),
        (raw(ONE.replace("}", ',"x":1}') + "}", f32(1)), "exactly"),
        (raw(ONE + "}", f32(1, 2)), "before the file does"),
        (raw(ONE + "}", b""), "is cut off"),
        (raw('{"a":' + EIGHT + ',"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', f32(1, 2)), "overlaps"),
        (raw(ONE + ',"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}', f32(1, 2, 3)), "hole"),
        (raw(ONE + ',"__metadata__":{"a":1}}', f32(1)), "texts"),
        (raw(ONE + ',"__metadata__":{"a":"\\ud800"}}', f32(1)), "surrogate"),
        (raw(ONE + ',"__metadata__":{"a":"' + "x" * 70_000 + '"}}', f32(1)), "larger"),
        (header.LFS_POINTER + b"\noid sha256:00\n", "LFS pointer"),
    ],
)
def test_refuses_every_second_reading(content, why):
    with pytest.raises(Unreadable, match=why):
        read_header(content)


def test_absent_pointer_and_broken_weights_are_seen_not_failed():
    assert observed("weights.canonical", without=("adapter_model.safetensors",)).value is False
    pointer = observed("weights.canonical", weights=header.LFS_POINTER + b"\n")
    assert pointer.value is False
    assert "git lfs pull" in str(pointer.reason)


def test_a_header_over_the_cap_is_not_parsed():
    size = header.MAX_HEADER_BYTES + 1
    with pytest.raises(Unreadable, match="over the limit"):
        read_header(struct.pack("<Q", size) + b" " * size)


@given(st.binary(max_size=400))
def test_random_bytes_never_crash_it(content):
    with pytest.raises(Unreadable):
        read_header(content)


_VALUE = st.sampled_from([0, 1, 2, 4, 8, 32, 64, -1, 1.0, True, None, "F32", "F64", "C64", [], [0, 32], [32, 64], {}])


@st.composite
def _headers(draw):
    """Headers near the good one: names, fields and numbers changed one at a time."""
    length = struct.unpack("<Q", GOOD[:8])[0]
    document = json.loads(GOOD[8 : 8 + length])
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(document)))
        match draw(st.integers(0, 3)):
            case 0:
                document.pop(name)
                document["x"] = copy.deepcopy(draw(_VALUE))
            case 1 if isinstance(document[name], dict):
                document[name][draw(st.sampled_from(["dtype", "shape", "data_offsets", "y"]))] = copy.deepcopy(
                    draw(_VALUE)
                )
            case 2:
                document[draw(st.text(max_size=4))] = document.pop(name)
            case _:
                document["__metadata__"] = {draw(st.text(max_size=3)): draw(st.text(max_size=3))}
    body = bytearray(GOOD[8 + length :])
    body += b"\0" * draw(st.sampled_from([0, 0, 0, 1, 8]))
    encoded = json.dumps(document, ensure_ascii=draw(st.booleans())) + " " * draw(st.integers(0, 8))
    return raw(encoded, bytes(body))


@pytest.mark.model
@settings(max_examples=300, deadline=None)
@given(_headers())
def test_what_is_canonical_here_loads_in_safetensors_and_equally(content):
    torch_reader = pytest.importorskip("safetensors.torch")
    try:
        tensors = read_header(content)
    except Unreadable:
        return
    loaded = torch_reader.load(content)
    assert {t.name: t.shape for t in tensors} == {name: tuple(value.shape) for name, value in loaded.items()}


@pytest.mark.model
@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=3))
def test_so_does_a_file_with_some_bytes_replaced(at, patch):
    torch_reader = pytest.importorskip("safetensors.torch")
    content = GOOD[:at] + patch + GOOD[at + len(patch) :]
    try:
        tensors = read_header(content)
    except Unreadable:
        return
    assert set(torch_reader.load(content)) == {t.name for t in tensors}


@pytest.mark.model
def test_positive_control_safetensors_itself_takes_two_readings():
    torch_reader = pytest.importorskip("safetensors.torch")
    twice = raw(ONE + ',"\\u0061":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', f32(1))
    assert tuple(torch_reader.load(twice)["a"].shape) == (1, 1)
