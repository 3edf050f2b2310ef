"""Orthogonal matrices, by three maps from matrices without constraints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias, cast

import jax
import jax.numpy as jnp
import jax.scipy.linalg
from jax import lax

from funcparams.core.errors import MismatchError
from funcparams.core.nodes import Parametrization
from funcparams.edit.places import Place
from funcparams.nn.checks import ArgumentError, choice, widened
from funcparams.parametrizations.node import node
from funcparams.parametrizations.refusal import refuse_node

OrthogonalMap: TypeAlias = Literal["matrix_exp", "cayley", "householder"]
_MAPS: tuple[OrthogonalMap, ...] = ("matrix_exp", "cayley", "householder")


@node
@dataclasses.dataclass(frozen=True)
class Orthogonal(Parametrization):
    r"""An orthogonal (or unitary) array: B Q, with Q made from an unconstrained array.

    With $A = X - X^H$ from the lower triangle X of `original`, Q is $\exp(A)$ or
    $(I - A/2)^{-1} (I + A/2)$; or a product of reflections whose vectors stand below the
    diagonal of `original`, with the signs of the diagonal. The last axes of more than two are
    those of the matrices. Rows are orthonormal where they are fewer than columns, else columns.

    Args:
        original: The unconstrained array, of the parameter's shape.
        base: B, orthogonal, of the larger size on both axes; None for none. It is `frozen`.
        orthogonal_map: `"matrix_exp"`, `"cayley"` or `"householder"`.

    Example:
        >>> import jax.numpy as jnp
        >>> node = Orthogonal(jnp.array([[0.0, 0.0], [2.0, 0.0]]), orthogonal_map="cayley")
        >>> node.value().tolist()
        [[0.0, -1.0], [1.0, 0.0]]

    References:
        Lezcano-Casado, [Trivializations for gradient-based optimization on manifolds](
        https://arxiv.org/abs/1909.09501), 2019
    """

    frozen: ClassVar[tuple[str, ...]] = ("base",)
    torch_names: ClassVar[Mapping[str, str]] = {
        "original": "parametrizations.{name}.original",
        "base": "parametrizations.{name}.{index}.base",
    }

    original: jax.Array
    base: jax.Array | None = None
    orthogonal_map: OrthogonalMap = dataclasses.field(
        default="matrix_exp", metadata={"static": True}
    )

    def value(self) -> jax.Array:
        """Compute the array."""
        dtype = self.original.dtype
        x = self.original.astype(widened(dtype))  # there is no linear algebra of half types
        wide = x.shape[-2] < x.shape[-1]
        x = x.mT if wide else x
        q = _reflections(x) if self.orthogonal_map == "householder" else _exponential(x, self)
        if self.base is not None:
            q = lax.stop_gradient(self.base).astype(q.dtype) @ q
        return (q.mT if wide else q).astype(dtype)


def _diagonal(x: jax.Array) -> jax.Array:
    return cast(jax.Array, jnp.diagonal(x, axis1=-2, axis2=-1))


def _exponential(x: jax.Array, node: Orthogonal) -> jax.Array:
    """Map a tall matrix to the first columns of the exponential, or of its Cayley form."""
    rows, columns = x.shape[-2:]
    padding = [(0, 0)] * (x.ndim - 1) + [(0, rows - columns)]
    x = jnp.pad(jnp.tril(x), padding) if rows > columns else jnp.tril(x)
    a = x - x.mT.conj()
    if node.orthogonal_map == "matrix_exp":
        q = cast(jax.Array, jax.scipy.linalg.expm(a))
    else:
        unit = jnp.eye(rows, dtype=a.dtype)
        q = cast(jax.Array, jnp.linalg.solve(unit - a / 2, unit + a / 2))
    return q[..., :columns]


def _reflections(x: jax.Array) -> jax.Array:
    r"""Map a tall matrix to the first columns of the product of its reflections.

    The product of $I - 2 v_i v_i^T / v_i^T v_i$ over the columns of V is $I - V T V^T$, where
    the inverse of T is the upper triangle of $V^T V$, with half of its diagonal. So it takes
    products of matrices and one triangular system, where one reflection after the other takes as
    many steps as there are columns.
    """
    rows, columns = x.shape[-2:]
    unit = jnp.eye(rows, columns, dtype=x.dtype)
    v = jnp.tril(x, -1) + unit
    gram = v.mT @ v
    half = _diagonal(gram)[..., None] / 2
    inverse = jnp.triu(gram, 1) + half * jnp.eye(columns, dtype=x.dtype)
    top = v[..., :columns, :].mT
    q = unit - v @ jax.scipy.linalg.solve_triangular(inverse, top)
    # The diagonal holds signs, 1 or -1; they are not learnt.
    signs = jnp.sign(lax.stop_gradient(_diagonal(x)))
    return q * signs[..., None, :]


@dataclasses.dataclass(frozen=True)
class orthogonal:
    r"""Make nodes that keep a matrix orthogonal (or unitary), for `fp.parametrize`.

    The array stays what it was if it is orthogonal and square, and otherwise becomes the Q of its
    QR decomposition with a positive diagonal of R; except without `use_trivialization`, where
    `"matrix_exp"` and `"cayley"` take the array itself as the unconstrained one.

    $$Q^H Q = I \text{ if } m \ge n, \qquad Q Q^H = I \text{ if } m < n$$

    Args:
        orthogonal_map: `"matrix_exp"`, `"cayley"` or `"householder"`; where nothing is said,
            `"matrix_exp"` for square and complex matrices, else `"householder"`.
        use_trivialization: Whether to start from the array as a `base`, which often converges
            faster and takes the memory of one more square matrix.

    Raises:
        ArgumentError: For another map.
        MismatchError: At `fp.parametrize`, for fewer than two axes, for complex arrays with
            `"householder"`, or where a parametrization stands.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Linear(5, 3)
        >>> params = fp.parametrize(model, model.init(jax.random.key(0)), "weight", orthogonal())
        >>> weight = fp.materialize(model, params)["weight"]
        >>> bool(jnp.allclose(weight @ weight.T, jnp.eye(3), atol=1e-5))
        True

    References:
        [torch.nn.utils.parametrizations.orthogonal](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.orthogonal.html)
    """

    orthogonal_map: OrthogonalMap | None = None
    use_trivialization: bool = dataclasses.field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        if self.orthogonal_map is not None:
            choice(self.orthogonal_map, _MAPS, "orthogonal", "orthogonal_map")
        if not isinstance(self.use_trivialization, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"orthogonal(use_trivialization={self.use_trivialization!r}): expected a bool."
            )

    def __call__(self, place: Place) -> Orthogonal:
        """Make the node of one place."""
        refuse_node(place, self)
        array = place.value
        if array.ndim < 2:
            raise MismatchError(
                f"{place.name}: {self!r}: expected a matrix or a batch of matrices, got an array "
                f"of shape {array.shape}."
            )
        is_complex = jnp.issubdtype(array.dtype, jnp.complexfloating)
        square = array.shape[-2] == array.shape[-1]
        kind = self.orthogonal_map or ("matrix_exp" if square or is_complex else "householder")
        if is_complex and kind == "householder":
            raise MismatchError(
                f"{place.name}: {self!r}: the householder map does not take complex arrays; "
                "matrix_exp and cayley do."
            )
        if not self.use_trivialization:
            return Orthogonal(_reflectors(array) if kind == "householder" else array, None, kind)
        tall = array.astype(widened(array.dtype))
        base = _completed(tall if array.shape[-2] >= array.shape[-1] else tall.mT)
        # With -I every map gives I, so that the array is the base's.
        start = jnp.broadcast_to(-jnp.eye(*array.shape[-2:], dtype=array.dtype), array.shape)
        return Orthogonal(start, base.astype(array.dtype), kind)


def _completed(tall: jax.Array) -> jax.Array:
    """Give a square orthogonal matrix that begins with the columns of Q of a tall matrix.

    PyTorch fills the other columns from random ones; any that are orthogonal to the first will do.
    """
    rows, columns = tall.shape[-2:]
    q, r = jnp.linalg.qr(tall, mode="complete")
    diagonal = _diagonal(r)
    signs = jnp.where(diagonal == 0, jnp.ones_like(diagonal), jnp.sign(diagonal))
    made = q.at[..., :columns].multiply(signs[..., None, :])
    if rows > columns:
        return made
    # A matrix that is orthogonal already stays as it is, to the bit.
    unit = jnp.eye(columns, dtype=tall.dtype)
    atol = 10.0 * rows * float(cast(Any, jnp.finfo(tall.dtype)).eps)
    return jnp.where(jnp.allclose(tall.mT.conj() @ tall, unit, atol=atol), tall, made)


def _reflectors(array: jax.Array) -> jax.Array:
    """Give the unconstrained array from which the reflections make Q of an array."""
    wide = array.shape[-2] < array.shape[-1]
    tall = array.astype(widened(array.dtype))
    raw, tau = jnp.linalg.qr(tall.mT if wide else tall, mode="raw")
    a = raw.mT
    diagonal = jnp.sign(_diagonal(a))
    # Where LAPACK makes no reflection, the formula of the value makes one, of the axis itself.
    signs = jnp.where(tau == 0, -diagonal, diagonal)
    unit = jnp.eye(*a.shape[-2:], dtype=a.dtype)
    a = jnp.where(unit == 1, signs[..., None, :] * unit, a)
    return (a.mT if wide else a).astype(array.dtype)
