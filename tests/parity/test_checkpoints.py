"""Files of PyTorch: refused, and read after the conversion that the error tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import funcparams as fp
from funcparams import nn

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")


def convert(text: str) -> None:
    """Run the two lines at the end of an error."""
    import safetensors.torch

    names: dict[str, Any] = {"torch": torch, "safetensors": safetensors}
    exec("\n".join(line.strip() for line in text.splitlines()[-2:]), names)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_of_pytorch_is_converted_by_what_the_error_says(
    legacy: bool, tmp_path: Path
) -> None:
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    theirs[0].weight.data = torch.randn(2, 3).T  # not contiguous, which the format cannot be
    theirs.append(theirs[0])
    path = tmp_path / "model.pt"
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(fp.CheckpointError, match="a file of PyTorch's") as caught:
        fp.load(path)
    convert(str(caught.value))
    shared = nn.Linear(2, 3)
    model = nn.Sequential(shared, nn.BatchNorm1d(3), shared)
    loaded = fp.load(path.with_suffix(".safetensors"), model)
    np.testing.assert_array_equal(loaded.params["0"]["weight"], theirs[0].weight.detach().numpy())
    assert loaded.params["2"] == fp.Ref(".0")
    assert loaded.report.names("tied") == ["2.weight", "2.bias"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_pytorch_loads_what_is_saved(dtype: str, tmp_path: Path) -> None:
    import jax
    import safetensors.torch

    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    params = fp.cast(model.init(jax.random.key(0)), dtype)
    fp.save(tmp_path / "a.safetensors", model, params, model.init_state())
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    found = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert found["0.weight"].dtype == getattr(torch, dtype)
    theirs.to(getattr(torch, dtype)).load_state_dict(found, strict=True)
    expected = np.asarray(params["0"]["weight"], np.float32)
    np.testing.assert_array_equal(theirs[0].weight.detach().float().numpy(), expected)
