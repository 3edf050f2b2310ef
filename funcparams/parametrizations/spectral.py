"""Spectral normalisation: a matrix divided by its largest singular value."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

import jax
import jax.numpy as jnp
from jax import lax

from funcparams.core.errors import MismatchError, SelectionError
from funcparams.core.nodes import Parametrization, follow, map_refs
from funcparams.edit.places import Place, array_of
from funcparams.nn.checks import ArgumentError, number, whole
from funcparams.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from funcparams.parametrizations.node import node

T = TypeVar("T", bound=Mapping[str, Any])
_INPUTS_FIRST = (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)
_WARM_UP = 15  # iterations before the first use, as in PyTorch


@node
@dataclasses.dataclass(frozen=True)
class SpectralNorm(Parametrization):
    r"""The array $W / \sigma$, where $\sigma = u^H W v$ is near the largest singular value of W.

    An array of more than two axes counts as a matrix of `dim` against all others. u and v are
    `frozen`: [`power_iteration`][funcparams.parametrizations.power_iteration] moves them, and no
    gradient reaches them.

    Args:
        original: W, of the parameter's shape.
        _u: The left singular vector; None for a vector, which is divided by its norm.
        _v: The right singular vector; None likewise.
        dim: The axis of the outputs.
        eps: The least norm to divide by.
        n_power_iterations: How often the power method is applied in each step.

    Example:
        >>> import jax.numpy as jnp
        >>> weight = jnp.array([[2.0, 0.0], [0.0, 1.0]])
        >>> SpectralNorm(weight, jnp.array([1.0, 0.0]), jnp.array([1.0, 0.0])).value().tolist()
        [[1.0, 0.0], [0.0, 0.5]]

    References:
        Miyato et al., [Spectral normalization for generative adversarial networks](
        https://arxiv.org/abs/1802.05957), 2018
    """

    frozen: ClassVar[tuple[str, ...]] = ("_u", "_v")
    torch_names: ClassVar[Mapping[str, str]] = {
        "original": "parametrizations.{name}.original",
        "_u": "parametrizations.{name}.{index}._u",
        "_v": "parametrizations.{name}.{index}._v",
    }

    original: Any
    _u: jax.Array | None = None
    _v: jax.Array | None = None
    dim: int = dataclasses.field(default=0, metadata={"static": True})
    eps: float = dataclasses.field(default=1e-12, metadata={"static": True})
    n_power_iterations: int = dataclasses.field(default=1, metadata={"static": True})

    def value(self) -> jax.Array:
        """Compute the array."""
        array: jax.Array = array_of(self.original)
        if array.ndim == 1:
            return _normalized(array, self.eps)
        u = lax.stop_gradient(cast(jax.Array, self._u))
        v = lax.stop_gradient(cast(jax.Array, self._v))
        return array / jnp.vdot(u, _matrix(array, self.dim) @ v)

    @property
    def whole(self) -> bool:
        """Whether all its arrays are there; a part from `fp.partition` has holes."""
        if self.original is None:
            return False
        return self._v is not None or array_of(self.original).ndim == 1

    def moved(self, array: jax.Array, iterations: int) -> SpectralNorm:
        """Give the node with singular vectors nearer to those of an array: the power method."""
        if array.ndim == 1:
            return self
        matrix = lax.stop_gradient(_matrix(array, self.dim))

        def step(_: Any, vectors: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            u = _normalized(matrix @ vectors[1], self.eps)
            return u, _normalized(matrix.conj().T @ u, self.eps)

        vectors = cast("tuple[jax.Array, jax.Array]", (self._u, self._v))
        if iterations == 1:
            u, v = step(0, vectors)
        else:
            u, v = cast("tuple[jax.Array, jax.Array]", lax.fori_loop(0, iterations, step, vectors))
        return dataclasses.replace(self, _u=u, _v=v)


@dataclasses.dataclass(frozen=True)
class spectral_norm:
    r"""Make nodes of spectral normalisation, for `fp.parametrize`, which needs a `key`.

    $$W_{SN} = \frac{W}{\sigma(W)}, \qquad
    \sigma(W) = \max_{h \ne 0} \frac{\lVert W h \rVert_2}{\lVert h \rVert_2}$$

    $\sigma$ comes from estimates of the singular vectors, which start from 15 iterations of the
    power method. PyTorch iterates in each forward pass of training. Here a node is a value: call
    [`power_iteration`][funcparams.parametrizations.power_iteration] once in each step of training.

    Args:
        n_power_iterations: How often the power method is applied in each step.
        eps: The least norm to divide by.
        dim: The axis of the outputs: 0 where nothing is said, and 1 in a transposed convolution.

    Raises:
        ArgumentError: For a number of iterations below 1, or an eps or axis that is no number.
        MismatchError: At `fp.parametrize`, for an axis that the parameter does not have.
        KeyRequiredError: At `fp.parametrize`, if it was given no key.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model, key = nn.Linear(3, 2), jax.random.key(0)
        >>> params = fp.parametrize(model, model.init(key), "weight", spectral_norm(), key)
        >>> weight = fp.materialize(model, params)["weight"]
        >>> bool(jnp.isclose(jnp.linalg.norm(weight, 2), 1, atol=1e-3))
        True

    References:
        [torch.nn.utils.parametrizations.spectral_norm](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.spectral_norm.html)
    """

    n_power_iterations: int = 1
    eps: float = 1e-12
    dim: int | None = None

    def __post_init__(self) -> None:
        whole(self.n_power_iterations, "spectral_norm", "n_power_iterations", least=1)
        if number(self.eps, "spectral_norm", "eps") < 0:
            raise ArgumentError(f"spectral_norm(eps={self.eps!r}): expected a number >= 0.")
        if self.dim is not None:
            whole(self.dim, "spectral_norm", "dim", least=None)

    def __call__(self, place: Place) -> SpectralNorm:
        """Make the node of one place."""
        array = place.value
        dim = self.dim
        if dim is None:
            dim = 1 if isinstance(place.module, _INPUTS_FIRST) else 0
        if not -array.ndim <= dim < array.ndim:
            raise MismatchError(
                f"{place.name}: {self!r}: an array of shape {array.shape} has no axis {dim}."
            )
        node = SpectralNorm(
            place.held, None, None, dim % array.ndim, self.eps, self.n_power_iterations
        )
        if array.ndim == 1:
            return node
        rows, columns = _matrix(array, node.dim).shape
        # The first iteration makes u out of v alone; it stands here for its shape and dtype.
        start = _normalized(jax.random.normal(place.key, (columns,), array.dtype), self.eps)
        node = dataclasses.replace(node, _u=jnp.zeros((rows,), array.dtype), _v=start)
        return node.moved(array, _WARM_UP)


def power_iteration(params: T, steps: int = 1) -> T:
    """Move the singular vectors of all spectral norms on: once in each step of training.

    It is what PyTorch does in each forward pass of training, before the weight is used. It may
    stand inside `jax.jit`; no gradient goes through it.

    Args:
        params: A tree of params, whole (after `fp.combine`, if it was parted).
        steps: For how many forward passes; each has the node's own `n_power_iterations`.

    Returns:
        The new tree. All but the singular vectors is as it was.

    Raises:
        SelectionError: If no parameter holds a spectral norm.
        MismatchError: If the tree has only a part of one.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model, key = nn.Linear(3, 2), jax.random.key(0)
        >>> params = fp.parametrize(model, model.init(key), "weight", spectral_norm(), key)
        >>> params = jax.jit(power_iteration)(params)
        >>> params["weight"]._u.shape, params["weight"]._v.shape
        ((2,), (3,))
    """
    steps = whole(steps, "power_iteration", "steps")
    found: list[str] = []

    def move(keys: Any, value: Any) -> Any:
        if not isinstance(value, SpectralNorm):
            return value
        place = tuple(str(key.key) for key in keys if isinstance(key, jax.tree_util.DictKey))
        found.append(".".join(place))
        complete = map_refs(value, lambda ref: array_of(follow(params, place, ref)[1]))
        if not complete.whole:
            raise MismatchError(
                f"power_iteration: {found[-1]}: this tree has only a part of the SpectralNorm.\n"
                "  Put the trees of fp.partition together first: fp.combine(tuned, frozen)."
            )
        iterations = steps * value.n_power_iterations
        new = complete.moved(array_of(complete.original), iterations) if iterations else complete
        return dataclasses.replace(new, original=value.original)

    def is_leaf(value: Any) -> bool:
        return isinstance(value, SpectralNorm)

    moved: Any = jax.tree_util.tree_map_with_path(move, params, is_leaf=is_leaf)
    if not found:
        raise SelectionError(
            "power_iteration: no parameter holds a SpectralNorm.\n  Put it there first: "
            "fp.parametrize(model, params, where, fp.parametrizations.spectral_norm(), key)."
        )
    return moved


def _matrix(array: jax.Array, dim: int) -> jax.Array:
    """Give an array as a matrix of one axis against all others."""
    if dim:
        array = jnp.moveaxis(array, dim, 0)
    return array.reshape(array.shape[0], -1)


def _normalized(vector: jax.Array, eps: float) -> jax.Array:
    """Divide a vector by its norm, or by `eps` where that is less; 0 has a gradient too."""
    total = jnp.sum(jnp.real(vector * vector.conj()))
    zero = total == 0
    norm = jnp.where(zero, jnp.zeros_like(total), jnp.sqrt(jnp.where(zero, 1, total)))
    return vector / jnp.maximum(norm, eps).astype(vector.dtype)
