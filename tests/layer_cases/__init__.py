"""One table of cases: every layer, with the arguments and inputs that it is tested with.

tests/nn/test_contract.py puts each case through what holds for every layer, and
tests/parity/test_layers.py compares each with the class of the same name in torch.nn.
"""

from __future__ import annotations

from tests.layer_cases.activation import ACTIVATION
from tests.layer_cases.attention import ATTENTION
from tests.layer_cases.case import Case, x64
from tests.layer_cases.containers import CONTAINERS
from tests.layer_cases.conv import CONV
from tests.layer_cases.dropout import DROPOUT
from tests.layer_cases.embedding import EMBEDDING
from tests.layer_cases.linear import LINEAR
from tests.layer_cases.norm import NORM
from tests.layer_cases.pooling import POOLING
from tests.layer_cases.recurrent import RECURRENT
from tests.layer_cases.shape import SHAPE

__all__ = ["CASES", "IN_TORCH", "ONE_EACH", "Case", "x64"]

CASES = [
    *LINEAR,
    *CONV,
    *NORM,
    *EMBEDDING,
    *RECURRENT,
    *ATTENTION,
    *DROPOUT,
    *POOLING,
    *SHAPE,
    *ACTIVATION,
    *CONTAINERS,
]

IN_TORCH = [case for case in CASES if case.in_torch]
"""The cases that torch.nn has too."""

ONE_EACH = list({case.layer: case for case in reversed(CASES)}.values())[::-1]
"""The first case of each layer."""
