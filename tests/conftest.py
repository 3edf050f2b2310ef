"""What every test shares: the platform, and the marker of the parity tests."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# The suite compares bits and exact numbers, which hold on one platform: CPU, unless a person asks
# for another. It must be said before JAX is first imported.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

if not hasattr(jax, "enable_x64"):  # JAX before 0.8 has it under another name only
    import jax.experimental

    jax.enable_x64 = jax.experimental.enable_x64

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("funcparams", deadline=None)
hypothesis.settings.load_profile("funcparams")

PARITY = Path(__file__).parent / "parity"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if PARITY in item.path.parents:
            item.add_marker("parity")
