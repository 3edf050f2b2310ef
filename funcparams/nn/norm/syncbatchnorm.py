"""`SyncBatchNorm`: batch normalisation over a batch that lies on several devices."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from funcparams.core.errors import FuncparamsError
from funcparams.module import Module
from funcparams.nn.checks import ArgumentError, title, whole
from funcparams.nn.norm.batchnorm import BatchNorm
from funcparams.nn.norm.moments import moments

M = TypeVar("M", bound=Module)


class AxisNameError(FuncparamsError, NameError):
    """A layer reduces over a named axis, and nothing around the call maps an axis of that name.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.SyncBatchNorm(3, axis_name="devices", track_running_stats=False)
        >>> try:
        ...     model.apply(model.init(None), jnp.ones((2, 3)), training=True)
        ... except nn.AxisNameError as error:
        ...     print(str(error).splitlines()[0])
        SyncBatchNorm: no axis 'devices' is mapped around this call.
    """


class SyncBatchNorm(BatchNorm):
    r"""Normalise over a batch in parts: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    While training, $\mu$ and $\sigma^2$ are those of the parts of all places on a mapped axis
    together, as if [`BatchNorm1d`][funcparams.nn.BatchNorm1d] had been called with the whole batch;
    so are gradients and running statistics, and each place computes the same ones. In inference
    nothing is exchanged.

    Under `jax.jit` alone, with arrays sharded by the mesh, every batch normalisation has the whole
    batch already: this layer is for code that sees one part, in `jax.shard_map` and `jax.vmap`.

    Args:
        num_features: The number C of channels, at least 1.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; None for the plain
            average of all batches.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics; without, the batch's own are
            used in both modes, in inference those of the call's own part.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        axis_name: The mapped axis, or a tuple of several, as `jax.lax.psum` has it: an axis of the
            mesh, or the `axis_name` of a `jax.vmap`. With None the call's own batch is all there
            is. It takes the place of PyTorch's process_group.
        channels_last: Whether data is (N, ..., C) instead of (N, C, ...).

    Attributes:
        weight: (num_features,), ones.
        bias: (num_features,), zeros.
        running_mean: (num_features,), zeros; a buffer.
        running_var: (num_features,), ones; a buffer. It takes the variance of n - 1, where n counts
            the values of all parts.
        num_batches_tracked: () of int32, 0; a buffer.

    Called with x of shape (N, C, ...), it returns an array of x's shape and dtype. The half types
    are computed in float32; parameters have x's dtype, or float32 with these.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        AxisNameError: In training, if no axis of that name is mapped around the call.
        InputError: If x has another shape, or in training one value per channel in all.
        InputTypeError: If x and the parameters have dtypes that do not go together.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.SyncBatchNorm(1, axis_name="parts")
        >>> params, state = model.init(None), model.init_state()
        >>> def train(state, x):
        ...     return model.apply_with_state(params, state, x, training=True)
        >>> parts = jnp.array([[[1.0], [2.0]], [[3.0], [6.0]]])
        >>> over = jax.vmap(train, (None, 0), (0, None), axis_name="parts")
        >>> y, state = over(state, parts)
        >>> [round(float(value), 3) for value in y.ravel()]
        [-1.069, -0.535, 0.0, 1.604]
        >>> [round(float(state[name][0]), 4) for name in ("running_mean", "running_var")]
        [0.3, 1.3667]

    References:
        Ioffe and Szegedy, [Batch normalization](https://arxiv.org/abs/1502.03167), 2015;
        [torch.nn.SyncBatchNorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = jnp.float32,
        *,
        bias: bool = True,
        axis_name: str | tuple[str, ...] | None = None,
        channels_last: bool = False,
    ) -> None:
        whole(num_features, "SyncBatchNorm", "num_features", 1)
        arguments = (num_features, eps, momentum, affine, track_running_stats, dtype)
        super().__init__(*arguments, bias=bias, channels_last=channels_last)
        self.axis_name = _names(axis_name)

    @classmethod
    def convert_sync_batchnorm(cls, module: M, axis_name: str | tuple[str, ...] | None) -> M:
        """Make a definition with a SyncBatchNorm in place of every batch normalisation.

        Args:
            module: The definition.
            axis_name: As in the constructor.

        Returns:
            The changed definition. Names, parameters, buffers and what is shared stay as they are,
            so params and state of the one are those of the other.

        Example:
            >>> from funcparams import nn
            >>> net = nn.Sequential(nn.Linear(20, 10), nn.BatchNorm1d(10))
            >>> nn.SyncBatchNorm.convert_sync_batchnorm(net, "batch")[1].axis_name
            'batch'

        References:
            [torch.nn.SyncBatchNorm.convert_sync_batchnorm](https://docs.pytorch.org/docs/stable/generated/torch.nn.SyncBatchNorm.html#torch.nn.SyncBatchNorm.convert_sync_batchnorm)
        """
        found = {name: each for name, each in module.named_modules() if isinstance(each, BatchNorm)}
        made = {name: cls._converted(each, axis_name) for name, each in found.items()}
        return made[""] if "" in made else module.replace(made)  # pyright: ignore[reportReturnType]

    @classmethod
    def _converted(cls, norm: BatchNorm, axis_name: str | tuple[str, ...] | None) -> SyncBatchNorm:
        made = cls(
            norm.num_features,
            norm.eps,
            norm.momentum,
            norm.affine,
            norm.track_running_stats,
            bias=norm.bias is not None,
            axis_name=axis_name,
            channels_last=norm.channels_last,
        )
        # The same declarations: what they are shared with, and how they start, stays.
        return made.replace({**dict(norm.named_parameters()), **dict(norm.named_buffers())})

    def _fits(self, x: jax.Array) -> bool:
        return x.ndim >= 2

    def _layouts(self) -> str:
        return "(N, ..., C)" if self.channels_last else "(N, C, ...)"

    def _moments(
        self, x: jax.Array, axes: tuple[int, ...]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        return moments(x, axes, self.axis_name if self.training else None)

    def _values(self, x: jax.Array, axes: tuple[int, ...]) -> int:
        return super()._values(x, axes) * self._parts()

    def _parts(self) -> int:
        """Return how many parts the batch has; asked while training only."""
        names = (self.axis_name,) if isinstance(self.axis_name, str) else self.axis_name or ()
        parts = 1
        for name in names:
            try:
                parts *= lax.axis_size(name)
            except NameError:
                raise AxisNameError(
                    f"{title(self)}: no axis {name!r} is mapped around this call.\n"
                    f"  Train inside jax.vmap(f, axis_name={name!r}), or inside jax.shard_map over "
                    "a mesh that has this axis. Where a call has the whole batch, under jax.jit "
                    "alone too, axis_name=None is right."
                ) from None
        return parts

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = super().extra_repr()
        return text if self.axis_name is None else f"{text}, axis_name={self.axis_name!r}"


def _names(value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """Check the names of mapped axes."""
    names: Any = value if isinstance(value, tuple) else (value,)
    if value is not None and not (names and all(isinstance(name, str) for name in names)):
        raise ArgumentError(
            f"SyncBatchNorm(axis_name={value!r}): expected the name of a mapped axis, a tuple of "
            "such names, or None."
        )
    return value
