"""Types that rotate (OFT, BOFT, HRA, RoAd), each as its difference from the identity."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, factors, plain
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("oft_R", "oft_r", "boft_R", "boft_s", "hra_u", "road_theta", "road_alpha")


def parts(module: str, at: Mapping[str, Tensor], config: Configuration) -> Iterator[Part]:
    """Yield the rotation of `module`; for OFT and BOFT the skew-symmetric generators, which determine it."""
    for name in ("oft_R", "oft_r"):
        if name in at:
            yield plain(module, Operation.ROTATE, at[name].values())
    if "boft_R" in at:
        generators = at["boft_R"].values()
        yield plain(module, Operation.ROTATE, (generators - np.swapaxes(generators, -1, -2)) / 2)
    if "boft_s" in at:
        yield plain(module, Operation.MULTIPLY, at["boft_s"].values().reshape(-1) - 1)
    if "hra_u" in at:
        yield _reflections(module, at["hra_u"].values(), config)
    if "road_theta" in at or "road_alpha" in at:
        yield _planes(module, at, config)


def _reflections(module: str, vectors: Any, config: Configuration) -> Part:
    """Return HRA's product of Householder reflections, of vectors whose length does not count."""
    lengths = np.linalg.norm(vectors, axis=0)
    if vectors.ndim != 2 or not lengths.all():
        raise Uncomputable("a reflection has no direction", where=module)
    unit = vectors / lengths
    if config.flag("apply_GS"):
        basis, _ = np.linalg.qr(unit)
        return factors(module, Operation.ROTATE, -2 * basis, basis.T, (vectors,))
    left = np.zeros_like(unit)
    for number in range(unit.shape[1]):
        u = unit[:, number]
        left[:, number] = -2 * (u + left[:, :number] @ (unit[:, :number].T @ u))
    return factors(module, Operation.ROTATE, left, unit.T, (vectors,))


def _planes(module: str, at: Mapping[str, Tensor], config: Configuration) -> Part:
    """Return RoAd's lengths times cosines and sines of its angles: only these products act."""
    if not {"road_theta", "road_alpha"} <= at.keys():
        raise Uncomputable("its angles or its lengths are missing", where=module)
    angles, lengths = at["road_theta"].values(), at["road_alpha"].values()
    if angles.shape != lengths.shape:
        raise Uncomputable("its angles and lengths do not fit together", where=module)
    cosines, sines = lengths * np.cos(angles), lengths * np.sin(angles)
    if config.values.get("variant") == "road_4":
        group = int(config.number("group_size", 64))
        if group < 1 or angles.size % (2 * group):
            raise Uncomputable(f"its group_size {group} does not divide its angles", where=module)
        cosines, sines = cosines.reshape(-1, 2, group)[:, 0].ravel(), sines.reshape(-1, 2, group)[:, 1].ravel()
    return plain(module, Operation.ROTATE, np.stack([cosines.ravel() - 1, sines.ravel()]), (angles, lengths))
