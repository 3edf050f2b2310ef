"""What cannot stand in the table of cases: where PyTorch's own derivative is another formula's."""

from __future__ import annotations

import numpy as np
import pytest

from funcparams import nn

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 11])
def test_cross_map_norm_of_many_channels_gives_pytorchs_numbers(size: int) -> None:
    """PyTorch's gradient is not compared: it is off by one channel."""
    x = np.random.RandomState(0).randn(2, 9, 3, 2).astype(np.float32)
    theirs = torch.nn.CrossMapLRN2d(size, 0.5, 0.6, 2)(torch.tensor(x)).numpy()
    y = nn.CrossMapLRN2d(size, 0.5, 0.6, 2).apply({}, x)
    np.testing.assert_allclose(y, theirs, rtol=1e-5)
