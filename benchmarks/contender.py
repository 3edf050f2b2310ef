"""What a contender offers to the measures, and how one is found."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.models import Config

# The order of the tables: the baseline, then ours, then the peers.
LIBRARIES = ("hand", "funcparams", "nnx", "linen", "equinox", "haiku", "torch")
NEEDS = {"hand": "optax", "nnx": "flax", "linen": "flax", "funcparams": "optax"}
CHECKPOINT = "weights"


class Contender:
    """One library with one model. A contender's module defines `build(cfg, variant)`.

    The defaults are right where weights are a plain pytree of arrays.
    """

    cfg: Config
    forward: Callable[[Any, Any], Any]
    """(handle, x) -> output: the library's own jitted forward, in inference mode."""
    train_step: Callable[[Any, Any], tuple[Any, Any]]
    """(train state, (x, target)) -> (train state, loss)."""
    lower_forward: Callable[[Any, Any], Any]
    lower_step: Callable[[Any, Any], Any]

    def inits(self) -> dict[str, Callable[[Any], Any]]:
        """Give the ways to draw the weights from a key; the first is the usual one."""
        raise NotImplementedError

    def abstract(self) -> Any:
        """Give shapes and dtypes without arrays, in the library's own containers."""
        raise NotImplementedError

    def zeros(self) -> Any:
        """Make weights cheaply, without drawing."""
        import jax
        import numpy as np

        return jax.tree.map(lambda s: jax.device_put(np.zeros(s.shape, s.dtype)), self.abstract())

    def load(self, params: Any, state: Any) -> Any:
        """Make weights of the canonical numbers."""
        raise NotImplementedError

    def bind(self, weights: Any) -> Any:
        """Give what `forward` takes."""
        return weights

    def train_state(self, weights: Any) -> Any:
        """Give what `train_step` takes."""
        raise NotImplementedError

    def eager(self, weights: Any) -> Callable[[Any], Any]:
        """Give the forward without any jit."""
        raise NotImplementedError

    def count(self, weights: Any) -> int:
        """Count the trainable numbers."""
        import jax

        return sum(int(leaf.size) for leaf in jax.tree.leaves(weights))

    def ready(self, tree: Any) -> Any:
        """Wait until a result is there."""
        import jax

        return jax.block_until_ready(tree)

    def input(self, x: Any) -> Any:
        """Put a numpy input on the device."""
        import jax.numpy as jnp

        return jnp.asarray(x)

    def output(self, y: Any) -> Any:
        """Give an output as a numpy array."""
        import numpy as np

        return np.asarray(y)

    def save(self, folder: Path, weights: Any) -> None:
        """Write a checkpoint as users of the library do."""
        raise NotImplementedError

    def restore(self, folder: Path) -> Any:
        """Read it back."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Spec:
    """`library`, `library:variant`, each with `+scan` for stacked layers."""

    library: str
    variant: str
    scan: bool

    @classmethod
    def parse(cls, text: str) -> Spec:
        base, _, how = text.partition("+")
        library, _, variant = base.partition(":")
        return cls(library, variant, how == "scan")


def module_of(library: str) -> Any:
    """Import a contender's module."""
    return importlib.import_module(f"benchmarks.contenders.{library}")


def build(text: str, cfg: Config) -> Contender:
    """Make the contender that a specification names."""
    spec = Spec.parse(text)
    module = module_of(spec.library)
    contender = module.build(
        dataclasses.replace(cfg, scan=spec.scan), spec.variant or module.VARIANTS[0]
    )
    contender.cfg = dataclasses.replace(cfg, scan=spec.scan)
    return contender


def missing(library: str) -> str | None:
    """Name the package that a contender needs and this environment lacks."""
    need = NEEDS.get(library, library)
    return None if importlib.util.find_spec(need) else need


def installed() -> tuple[list[str], list[str]]:
    """Give (libraries that can run here, a line for each that cannot)."""
    absent = {library: need for library in LIBRARIES if (need := missing(library))}
    lines = [f"{library}: skipped, {need} is not installed" for library, need in absent.items()]
    return [library for library in LIBRARIES if library not in absent], lines
