"""state_dicts of parametrized layers, taken by PyTorch and taken from it."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import funcparams as fp
from funcparams import nn, parametrizations

torch = pytest.importorskip("torch")

MAKERS: dict[str, Any] = {
    "weight_norm": parametrizations.weight_norm(),
    "spectral_norm": parametrizations.spectral_norm(),
    "orthogonal": parametrizations.orthogonal(),
}


@pytest.mark.parametrize("name", MAKERS)
def test_pytorch_takes_what_a_parametrization_holds(name: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    key = jax.random.key(0)
    params = fp.parametrize(model, model.init(key), "0.weight", MAKERS[name], key=key)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)).eval()
    getattr(torch.nn.utils.parametrizations, name)(module[0], "weight")
    flat = fp.state_dict(model, params)
    module.load_state_dict({n: torch.tensor(np.asarray(a)) for n, a in flat.items()}, strict=True)
    x = np.random.RandomState(0).randn(5, 4).astype(np.float32)
    theirs = module(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model.apply(params, x), theirs, rtol=1e-5, atol=1e-5)
