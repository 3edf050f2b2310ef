"""Instance normalisation: over the places of each example and channel."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from funcparams.nn.checks import AXES, InputError, channel_axis, layout, title
from funcparams.nn.norm.running import RunningNorm


class _InstanceNorm(RunningNorm):
    """What the instance normalisations share: everything but the number of spatial axes."""

    spatial: ClassVar[int]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = jnp.float32,
        *,
        bias: bool = True,
        channels_last: bool = False,
    ) -> None:
        arguments = (num_features, eps, momentum, affine, track_running_stats, dtype)
        super().__init__(*arguments, bias=bias, channels_last=channels_last)

    def _axes(self, x: jax.Array) -> tuple[int, tuple[int, ...]]:
        count, last = self.spatial, self.channels_last
        channel = channel_axis(x, count, last)
        if x.ndim not in (count + 1, count + 2) or x.shape[channel] != self.num_features:
            batched = layout("C", last, AXES[count])
            single = layout("C", last, AXES[count], batched=False)
            raise InputError(
                f"{title(self)}: expected an input of shape {batched}, or {single} without a batch "
                f"axis, with C = num_features={self.num_features}, got shape {x.shape}."
            )
        axes = tuple(range(channel - count, channel) if last else range(channel + 1, x.ndim))
        measures = self.training or self.running_mean is None
        if measures and self._values(x, axes) == 1:
            raise InputError(
                f"{title(self)}: expected more than 1 place per channel, got an input of shape "
                f"{x.shape}: a single value has no variance."
            )
        return channel, axes

    def _share(self, dtype: Any) -> Any:
        return self.momentum


class InstanceNorm1d(_InstanceNorm):
    r"""Normalise examples' channels: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    $\mu$ and $\sigma^2$ are those of one channel of one example, over its places. With
    track_running_stats the averages over the batch move running statistics while training, and
    these are used otherwise.

    Args:
        num_features: The number C of channels.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics. With None they never
            move, as in PyTorch.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, L, C) instead of (N, C, L).

    Attributes:
        weight: (num_features,), ones; None without affine.
        bias: (num_features,), zeros; None without affine.
        running_mean: (num_features,), zeros; a buffer, with track_running_stats only.
        running_var: (num_features,), ones; likewise. It takes the variance of n - 1.
        num_batches_tracked: () of int32, 0; likewise. As in PyTorch, it stays 0.

    Called with x of shape (N, C, L), or (C, L) without a batch axis, it returns an array of x's
    shape and dtype. The half types are computed in float32; parameters have x's dtype, or float32
    with these. Where x has not C channels, PyTorch only warns if there are no parameters; here that
    is an error always.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x has another shape, or one place only where it is its own measure.
        InputTypeError: If x and the parameters have dtypes that do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> x = jnp.array([[[1.0, 3.0, 5.0], [0.0, 0.0, 30.0]]])
        >>> [round(float(value), 2) for value in nn.InstanceNorm1d(2).apply({}, x).ravel()]
        [-1.22, 0.0, 1.22, -0.71, -0.71, 1.41]

    References:
        Ulyanov et al., [Instance normalization](https://arxiv.org/abs/1607.08022), 2016;
        [torch.nn.InstanceNorm1d](https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm1d.html)
    """

    spatial = 1


class InstanceNorm2d(_InstanceNorm):
    r"""Normalise images' channels: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    It is [`InstanceNorm1d`][funcparams.nn.InstanceNorm1d] for x of shape (N, C, H, W) or (C, H, W),
    or with the channels last; arguments, parameters, buffers and errors are the same.

    Args:
        num_features: The number C of channels.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; with None they never
            move.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, H, W, C) instead of (N, C, H, W).

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.InstanceNorm2d(3, affine=True)
        >>> model.apply(model.init(None), jnp.ones((2, 3, 4, 4))).shape
        (2, 3, 4, 4)

    References:
        [torch.nn.InstanceNorm2d](https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm2d.html)
    """

    spatial = 2


class InstanceNorm3d(_InstanceNorm):
    r"""Normalise volumes' channels: $y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}\, w + b$.

    It is [`InstanceNorm1d`][funcparams.nn.InstanceNorm1d] for x of shape (N, C, D, H, W) or
    (C, D, H, W), or with the channels last; arguments, parameters, buffers and errors are the same.

    Args:
        num_features: The number C of channels.
        eps: $\epsilon$, added to the variance.
        momentum: The share of the newest batch in the running statistics; with None they never
            move.
        affine: Whether there are $w$ and $b$.
        track_running_stats: Whether there are running statistics.
        dtype: The dtype of the parameters and running statistics.
        bias: Whether there is $b$, if there is $w$.
        channels_last: Whether data is (N, D, H, W, C) instead of (N, C, D, H, W).

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams import nn
        >>> nn.InstanceNorm3d(2).apply({}, jnp.ones((2, 1, 2, 2))).shape
        (2, 1, 2, 2)

    References:
        [torch.nn.InstanceNorm3d](https://docs.pytorch.org/docs/stable/generated/torch.nn.InstanceNorm3d.html)
    """

    spatial = 3
