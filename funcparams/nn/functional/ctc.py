"""`ctc_loss`: the likelihood of a sequence over all ways in which it fits frames of an input."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from funcparams.nn.checks import ArgumentError, InputError, whole
from funcparams.nn.functional.classes import pick
from funcparams.nn.functional.reduction import (
    floats,
    integers,
    reduced,
    reduction_of,
    wide,
)

# The logarithm of probability 0: one that sums and differences can be taken of. No sum of
# logarithms of probabilities above 0 comes near it.
IMPOSSIBLE = -1e30


def ctc_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> jax.Array:
    r"""Compute the connectionist temporal classification loss: $-\log P(\text{target})$.

    The probability of a target is the sum, over every path of one class for each frame that
    becomes the target when repeats are merged and then blanks are left out, of the product of the
    path's probabilities. It is summed by a scan over the frames, in logarithms; compile time does
    not grow with their number.

    Args:
        log_probs: Logarithms of probabilities, (T, N, C) or (T, C): frames, samples, classes; as
            log_softmax gives them.
        targets: Integers, (N, S), or (S,) for one sample: the classes of each target, filled up
            with any number to one length. PyTorch also takes targets of a batch that are joined
            to one axis: here they have to be filled up.
        input_lengths: Integers, (N,) or (): how many frames are read, at most T.
        target_lengths: Integers, (N,) or (): how long the targets are, at most S.
        blank: The class that stands for no label.
        reduction: `"none"`, `"sum"`, or `"mean"`: each loss is divided by the length of its
            target, by 1 where that is 0, and the mean is taken over the samples.
        zero_infinity: Whether 0 is given in place of infinity, for targets that no path fits.

    Returns:
        The loss in the dtype of log_probs: one number, or for `"none"` the shape (N,) or (). It
        is infinite, without a gradient, where no path fits; NaN where a length is out of range,
        or a class within the length of a target is not from 0 to C - 1. Its gradient is
        the derivative by log_probs; PyTorch's adds the probabilities themselves. Behind a
        log_softmax both are the same.

    Raises:
        ArgumentError: For an unknown reduction, or a blank that is no class.
        InputError: For shapes that do not fit.
        InputTypeError: For arrays of dtypes that do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.nn import functional as F
        >>> log_probs = jnp.log(jnp.full((2, 1, 2), 0.5))
        >>> print(jnp.exp(-F.ctc_loss(log_probs, jnp.array([[1]]), jnp.array([2]), jnp.array([1]))))
        0.75

    References:
        Graves et al., Connectionist Temporal Classification, 2006;
        [torch.nn.functional.ctc_loss](https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.ctc_loss.html)
    """
    how = reduction_of(reduction, "ctc_loss")
    (logs,) = floats("ctc_loss", log_probs=log_probs)
    labels = integers("ctc_loss", "targets", targets)
    frames = integers("ctc_loss", "input_lengths", input_lengths)
    lengths = integers("ctc_loss", "target_lengths", target_lengths)
    _check_shapes(logs, labels, frames, lengths)
    silent = whole(blank, "ctc_loss", "blank")
    if silent >= logs.shape[-1]:
        raise ArgumentError(
            f"ctc_loss(blank={silent}): expected a class from 0 to {logs.shape[-1] - 1}."
        )
    single = logs.ndim == 2
    if single:
        labels, frames, lengths = (lax.expand_dims(x, (0,)) for x in (labels, frames, lengths))
        total = _likelihood(lax.expand_dims(logs, (1,)), labels, frames, lengths, silent)
    else:
        total = _likelihood(logs, labels, frames, lengths, silent)
    fits = (frames >= 0) & (frames <= logs.shape[0])
    lost = 0 if zero_infinity else jnp.inf
    losses = jnp.where(total < IMPOSSIBLE / 2, lost, -total)
    losses = jnp.where(fits, losses, jnp.nan)
    if how == "mean":
        losses = losses / jnp.maximum(lengths, 1).astype(losses.dtype)
    return reduced(losses[0] if single else losses, how, logs.dtype)


def _check_shapes(
    logs: jax.Array, labels: jax.Array, frames: jax.Array, lengths: jax.Array
) -> None:
    """Refuse arrays that are not of one batch."""
    if logs.ndim not in (2, 3):
        raise InputError(
            f"ctc_loss: expected log_probs of shape (T, N, C) or (T, C), got shape {logs.shape}."
        )
    batch = logs.shape[1:-1]
    if labels.ndim != logs.ndim - 1 or labels.shape[:-1] != batch:
        wanted = f"({batch[0]}, S)" if batch else "(S,)"
        hint = "\n  Fill up joined targets to one length." if batch and labels.ndim == 1 else ""
        raise InputError(
            f"ctc_loss: expected targets of shape {wanted} for log_probs of shape {logs.shape}, "
            f"got shape {labels.shape}.{hint}"
        )
    for name, given in (("input_lengths", frames), ("target_lengths", lengths)):
        if given.shape != batch:
            raise InputError(
                f"ctc_loss: expected {name} of shape {batch} for log_probs of shape {logs.shape}, "
                f"got shape {given.shape}."
            )


def _likelihood(
    logs: jax.Array, labels: jax.Array, frames: jax.Array, lengths: jax.Array, blank: int
) -> jax.Array:
    """Return the logarithm of the probability of each target, (N,)."""
    count, longest = labels.shape
    steps = logs.shape[0]
    # What fills a target up may be no class, and must not become NaN: no path ends behind it.
    inside = lax.broadcasted_iota(labels.dtype, labels.shape, 1) < lengths[:, None]
    labels = jnp.where(inside, labels, blank)
    logs = wide(logs)
    of_labels = jnp.maximum(_emitted(logs, labels), IMPOSSIBLE)
    of_blank = jnp.maximum(logs[:, :, blank : blank + 1], IMPOSSIBLE)
    # Between equal labels a path has to pass a blank; before the first stands nothing to skip.
    repeated = jnp.pad(labels[:, 1:] == labels[:, :-1], ((0, 0), (1, 0)))[:, :longest]
    live = lax.broadcasted_iota(frames.dtype, (steps, count, 1), 0) < frames[:, None]

    def step(
        before: tuple[jax.Array, jax.Array], frame: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        """Read one frame: paths end in the blank after j labels, or in the label j."""
        (in_blank, in_label), (blank_log, label_logs, live) = before, frame
        after = jnp.concatenate([in_blank[:, :1], _either(in_blank[:, 1:], in_label)], axis=1)
        enter = jnp.where(repeated, in_blank[:, :-1], after[:, :-1])
        now = (after + blank_log, _either(in_label, enter) + label_logs)
        return (jnp.where(live, now[0], in_blank), jnp.where(live, now[1], in_label)), None

    start = jnp.full((count, longest + 1), IMPOSSIBLE, logs.dtype)
    started = (start.at[:, 0].set(0), start[:, :longest])
    (in_blank, in_label), _ = lax.scan(step, started, (of_blank, of_labels, live))
    # The last label, or the blank behind it, ends a path. Of no label there is a blank only.
    last = pick(jnp.concatenate([start[:, :1], in_label], axis=1), lengths, 1)
    return _either(pick(in_blank, lengths, 1), last)


def _emitted(logs: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the entries (T, N, S) of (T, N, C) at labels (N, S); NaN for what is no class."""
    numbers = lax.GatherDimensionNumbers(
        offset_dims=(0,),
        collapsed_slice_dims=(2,),
        start_index_map=(2,),
        operand_batching_dims=(1,),
        start_indices_batching_dims=(0,),
    )
    return lax.gather(
        logs,
        lax.expand_dims(labels, (2,)),
        numbers,
        (logs.shape[0], 1, 1),
        mode=lax.GatherScatterMode.FILL_OR_DROP,
    )


@jax.custom_jvp
def _either(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return log(exp(a) + exp(b)) of finite numbers."""
    return jnp.maximum(a, b) + jnp.log1p(jnp.exp(-jnp.abs(a - b)))


@_either.defjvp
def _(
    primals: tuple[jax.Array, jax.Array], tangents: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    # One array to keep for the backward pass, where the formula's own derivative keeps several.
    (a, b), (da, db) = primals, tangents
    share = jax.nn.sigmoid(a - b)
    return _either(a, b), share * da + (1 - share) * db
