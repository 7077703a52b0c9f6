"""A cache with room holds, after any operations, what transformers' own does."""

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from transformers.cache_utils import DynamicCache, DynamicLayer  # noqa: E402

from peft_assay_harness.engines.roomy import RoomyLayer, with_room  # noqa: E402

pytestmark = pytest.mark.model

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.integers(1, 4)),
        st.tuples(st.just("crop"), st.integers(1, 3)),
        st.tuples(st.just("select"), st.lists(st.integers(0, 5), min_size=1, max_size=4)),
    ),
    max_size=12,
)


def begun():
    layer = DynamicLayer()
    layer.update(torch.randn(4, 2, 5, 3), torch.randn(4, 2, 5, 3))
    return layer


@given(steps=STEPS, room=st.integers(1, 6))
def test_it_holds_what_the_plain_layer_holds(steps, room):
    plain = begun()
    roomy = RoomyLayer(plain, room)
    for what, how in steps:
        if what == "update":
            rows = plain.keys.shape[0]
            keys, values = torch.randn(2, rows, 2, how, 3)
            for given_back, expected in zip(roomy.update(keys, values), plain.update(keys, values), strict=True):
                assert torch.equal(given_back, expected)
        elif what == "crop" and plain.get_seq_length() > how:
            for layer in (plain, roomy):
                layer.crop(-how)
        elif what == "select":
            index = torch.tensor([row % plain.keys.shape[0] for row in how])
            for layer in (plain, roomy):
                layer.batch_select_indices(index)
        assert torch.equal(roomy.keys, plain.keys)
        assert torch.equal(roomy.values, plain.values)
        assert roomy.get_seq_length() == plain.get_seq_length()


def test_within_its_room_nothing_is_copied():
    roomy = RoomyLayer(begun(), 3)
    one = torch.randn(4, 2, 1, 3)
    places = set()
    for _ in range(4):  # the first makes the room, for itself and three more
        roomy.update(one, one)
        places.add(roomy.keys.data_ptr())
    assert len(places) == 1
    roomy.update(one, one)
    assert roomy.keys.data_ptr() not in places


def test_other_layers_are_left_as_they_are():
    class Other(DynamicLayer):
        pass

    cache = DynamicCache()
    cache.layers = [begun(), Other()]
    with_room(cache, 4)
    assert [type(layer) for layer in cache.layers] == [DynamicLayer, Other]
    cache.layers = [begun(), DynamicLayer()]
    with_room(cache, 4)
    assert [type(layer) for layer in cache.layers] == [DynamicLayer, DynamicLayer]
    cache.layers = [begun(), begun()]
    with_room(cache, 0)
    assert [type(layer) for layer in cache.layers] == [DynamicLayer, DynamicLayer]
    with_room(cache, 4)
    assert [type(layer) for layer in cache.layers] == [RoomyLayer, RoomyLayer]
