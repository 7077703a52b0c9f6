"""VeRA: diag(b) B diag(d) A, with A and B the same for every module and drawn from a seed."""

from collections.abc import Iterator, Mapping

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, factors, plain
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("vera_lambda_b", "vera_lambda_d")
SHARED_DOWN, SHARED_UP = "vera_A", "vera_B"


def parts(module: str, at: Mapping[str, Tensor], _: Configuration) -> Iterator[Part]:
    """Yield the update of `module` where A and B are stored, else its two vectors as they are.

    A is as wide as the widest module: of narrower ones the columns beyond are the same in every adapter of one seed.
    """
    if not set(MARKS) <= at.keys():
        raise Uncomputable("one of its two vectors is missing", where=module)
    outputs, strengths = at["vera_lambda_b"].values(), at["vera_lambda_d"].values()
    down, up = at.get(SHARED_DOWN), at.get(SHARED_UP)
    if down is None or up is None:
        yield plain(f"{module}.vera_lambda_b", Operation.TENSOR, outputs)
        yield plain(f"{module}.vera_lambda_d", Operation.TENSOR, strengths)
        return
    a, b = down.values(), up.values()[: len(outputs)]
    if len(b) != len(outputs) or not a.shape[0] == b.shape[1] == len(strengths):
        raise Uncomputable("its vectors and the shared matrices do not fit together", where=module)
    yield factors(module, Operation.ADD, outputs[:, None] * b, strengths[:, None] * a, (outputs, strengths, a, b))
