"""Keys and values kept with room for what will follow, so that a token is written beside them and not all are copied.

transformers' own layer of a cache joins old and new into a new tensor for each token (`DynamicLayer.update`).
"""

from typing import Any

import torch
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A `DynamicLayer` whose keys and values are the beginning of a tensor that is larger.

    Whoever replaces them, to drop rows or cut the end off, leaves the room behind; it is made again when it is needed.
    """

    def __init__(self, layer: DynamicLayer, room: int) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True
        self.keys, self.values = layer.keys, layer.values
        self._room = room
        self._tensors: tuple[Any, Any] | None = None

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """See `DynamicLayer.update`."""
        used = self.keys.shape[-2]
        end = used + key_states.shape[-2]
        keys, values = self._with_room(end)
        keys[..., used:end, :] = key_states
        values[..., used:end, :] = value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        return self.keys, self.values

    def _with_room(self, end: int) -> tuple[Any, Any]:
        """The tensors of which keys and values are the beginning, of at least `end` slots."""
        if self._tensors is not None:
            keys, values = self._tensors
            if _begins(keys, self.keys) and _begins(values, self.values) and end <= keys.shape[-2]:
                return self._tensors
        made = tuple(_longer(part, end + self._room) for part in (self.keys, self.values))
        self._tensors = (made[0], made[1])
        return self._tensors


def _begins(whole: Any, part: Any) -> bool:
    return bool(whole.data_ptr() == part.data_ptr() and whole.shape[:-2] == part.shape[:-2])


def _longer(part: Any, slots: int) -> Any:
    made = part.new_empty((*part.shape[:-2], slots, part.shape[-1]))
    made[..., : part.shape[-2], :] = part
    return made


def with_room(cache: Any, room: int) -> None:
    """Has the layers of `cache` keep room for `room` more tokens, where they are transformers' plain ones."""
    if room > 0 and all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers):
        with torch.inference_mode():
            cache.layers = [RoomyLayer(layer, room) for layer in cache.layers]
