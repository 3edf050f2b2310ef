"""Batch normalisation: over the batch while training, by running statistics afterwards."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from funcparams.nn.checks import AXES, InputError, layout, title
from funcparams.nn.norm.running import RunningNorm


class BatchNorm(RunningNorm):
    """What the batch normalisations share: everything but the ranks that they take."""

    spatial: ClassVar[tuple[int, ...]]

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
        channels_last: bool = False,
    ) -> None:
        arguments = (num_features, eps, momentum, affine, track_running_stats, dtype)
        super().__init__(*arguments, bias=bias, channels_last=channels_last)

    def _fits(self, x: jax.Array) -> bool:
        """Tell whether an input has a rank that the layer takes."""
        return x.ndim - 2 in self.spatial

    def _layouts(self) -> str:
        """Write the shapes that the layer takes."""
        return " or ".join(layout("C", self.channels_last, AXES[n]) for n in self.spatial)

    def _axes(self, x: jax.Array) -> tuple[int, tuple[int, ...]]:
        channel = x.ndim - 1 if self.channels_last else 1
        if not self._fits(x) or x.shape[channel] != self.num_features:
            raise InputError(
                f"{title(self)}: expected an input of shape {self._layouts()} with "
                f"C = num_features={self.num_features}, got shape {x.shape}."
            )
        axes = tuple(axis for axis in range(x.ndim) if axis != channel)
        if self.training and self._values(x, axes) == 1:
            raise InputError(
                f"{title(self)}: expected more than 1 value per channel when training, got an "
                f"input of shape {x.shape}: a single value has no variance."
            )
        return channel, axes

    def _share(self, dtype: Any) -> Any:
        if self.num_batches_tracked is None:
            return None
        self.num_batches_tracked = count = self.num_batches_tracked + 1
        # Without a momentum every batch counts the same, since the first.
        return 1 / count.astype(dtype) if self.momentum is None else self.momentum


class BatchNorm1d(BatchNorm):
    r"""Normalise each feature of a batch: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    While training, $\mu$ and $\sigma^2$ are the batch's, over all axes but the features', and the
    running statistics move towards them by the momentum; otherwise they are the running ones.

    Args:
        num_features: The number C of features.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; None for the plain
            average of all batches.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics; without, the batch's own are
            used in both modes.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Attributes:
        weight: (num_features,), ones.
        bias: (num_features,), zeros.
        running_mean: (num_features,), zeros; a buffer.
        running_var: (num_features,), ones; a buffer. It takes the variance of n - 1.
        num_batches_tracked: () of int32, 0; a buffer. PyTorch's is int64, which JAX has under
            jax_enable_x64 only.

    Called with x of shape (N, C) or (N, C, L), it returns an array of x's shape and dtype. The half
    types are computed in float32; parameters have x's dtype, or float32 with these.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x has another shape, or in training one value per feature only.
        InputTypeError: If x and the parameters have dtypes that do not go together.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.BatchNorm1d(1)
        >>> params, state = model.init(None), model.init_state()
        >>> x = jnp.array([[1.0], [2.0], [3.0], [6.0]])
        >>> y, state = model.apply_with_state(params, state, x, training=True)
        >>> [round(float(value), 3) for value in y.ravel()]
        [-1.069, -0.535, 0.0, 1.604]
        >>> [round(float(state[name][0]), 4) for name in ("running_mean", "running_var")]
        [0.3, 1.3667]

    References:
        Ioffe and Szegedy, [Batch normalization](https://arxiv.org/abs/1502.03167), 2015;
        [torch.nn.BatchNorm1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm1d.html)
    """

    spatial = (0, 1)


class BatchNorm2d(BatchNorm):
    r"""Normalise each channel of images: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    It is [`BatchNorm1d`][funcparams.nn.BatchNorm1d] for x of shape (N, C, H, W), or (N, H, W, C)
    with channels_last; arguments, parameters, buffers and errors are the same.

    Args:
        num_features: The number C of channels.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; None for the plain
            average of all batches.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.BatchNorm2d(3)
        >>> model
        BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        >>> params, state = model.init(None), model.init_state()
        >>> model.apply(params, jnp.ones((2, 3, 4, 4)), state=state).shape
        (2, 3, 4, 4)

    References:
        [torch.nn.BatchNorm2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html)
    """

    spatial = (2,)


class BatchNorm3d(BatchNorm):
    r"""Normalise each channel of volumes: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    It is [`BatchNorm1d`][funcparams.nn.BatchNorm1d] for x of shape (N, C, D, H, W), or
    (N, D, H, W, C) with channels_last; arguments, parameters, buffers and errors are the same.

    Args:
        num_features: The number C of channels.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; None for the plain
            average of all batches.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.BatchNorm3d(2)
        >>> params, state = model.init(None), model.init_state()
        >>> model.apply(params, jnp.ones((2, 2, 1, 2, 2)), state=state).shape
        (2, 2, 1, 2, 2)

    References:
        [torch.nn.BatchNorm3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm3d.html)
    """

    spatial = (3,)
