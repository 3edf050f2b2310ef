"""A module under construction, in which the tests of registration try one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import funcparams as fp
from tests.models import Linear, ones, zeros


def built(construct: Callable[[Any], None]) -> fp.Module:
    """Run a constructor in which one thing is tried."""

    class Model(fp.Module):
        def __init__(self) -> None:
            self.weight = fp.param((2,), ones)
            self.mean = fp.buffer((2,), zeros)
            self.child = Linear(1, 1)
            construct(self)

        def forward(self, x: Any) -> Any:
            return x

        @property
        def width(self) -> int:
            return 2

    return Model()


def refused(construct: Callable[[Any], None], error: type[Exception], *texts: str) -> None:
    """The constructor fails with these texts, and the failed assignment left no trace."""
    left: list[dict[str, Any]] = []

    def watched(self: Any) -> None:
        before = dict(vars(self))
        try:
            construct(self)
        finally:
            left.extend([before, dict(vars(self))])

    with pytest.raises(error) as caught:
        built(watched)
    assert isinstance(caught.value, fp.FuncparamsError)
    for text in texts:
        assert text in str(caught.value)
    assert left[0] == left[1]
    assert all(left[0][name] is left[1][name] for name in left[0])
