"""Cells: one step of a recurrent network, for loops of one's own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from funcparams.module import Module, param
from funcparams.nn.checks import InputError, choice, matching, title, whole
from funcparams.nn.linear import fan_uniform
from funcparams.nn.recurrent.steps import ELMAN, GRU, LSTM, State, Step, contract


class _Cell(Module):
    """What the cells share: everything but the step."""

    bias_ih: jax.Array | None
    bias_hh: jax.Array | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: Any = jnp.float32
    ) -> None:
        layer = type(self).__name__
        self.input_size = whole(input_size, layer, "input_size")
        self.hidden_size = whole(hidden_size, layer, "hidden_size")
        self.bias = bool(bias)
        uniform, rows = fan_uniform(self.hidden_size), self._step().gates * self.hidden_size
        self.weight_ih = param((rows, self.input_size), uniform, dtype)
        self.weight_hh = param((rows, self.hidden_size), uniform, dtype)
        self.bias_ih = param(rows, uniform, dtype) if self.bias else None
        self.bias_hh = param(rows, uniform, dtype) if self.bias else None

    @abstractmethod
    def _step(self) -> Step:
        """Give what the cell computes."""

    def _stepped(self, x: ArrayLike, given: Any) -> State:
        """Step from the states that were given, or from zeros."""
        step, x = self._step(), matching(self, x, self.weight_ih)
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            size = f"input_size={self.input_size}"
            raise InputError(
                f"{title(self)}: expected an input of shape (N, {size}), or ({size},) without a "
                f"batch axis, got shape {x.shape}."
            )
        shape = (*x.shape[:-1], self.hidden_size)
        if given is None:
            state = (jnp.zeros(shape, x.dtype),) * len(step.states)
        else:
            named = zip(step.states, given, strict=True)
            state = tuple(self._checked(name, value, shape) for name, value in named)
        ours, theirs = contract(x, self.weight_ih), contract(state[0], self.weight_hh)
        if self.bias_ih is not None and self.bias_hh is not None:
            ours, theirs = ours + self.bias_ih, theirs + self.bias_hh
        return step(step.split(ours), step.split(theirs), state)

    def _checked(self, name: str, value: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
        value = matching(self, value, self.weight_ih, name)
        if value.shape != shape:
            raise InputError(
                f"{title(self)}: expected {name} of shape {shape} beside this input, got shape "
                f"{value.shape}."
            )
        return value

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(_Cell):
    r"""Step an Elman network: $h' = \tanh(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$.

    Args:
        input_size: The size of x.
        hidden_size: The size H of h.
        bias: Whether there are $b_{ih}$ and $b_{hh}$.
        nonlinearity: `"tanh"`, or `"relu"` in its place.
        dtype: The dtype of the parameters.

    Attributes:
        weight_ih: (H, input_size), from U(-k, k) with k = 1 / sqrt(H), as all others are.
        weight_hh: (H, H).
        bias_ih: (H,).
        bias_hh: (H,).

    Called with x of shape (N, input_size) and h of shape (N, H), or both without N, it returns h'
    of h's shape; without h it steps from zeros. All have the parameters' dtype.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x or h has another shape.
        InputTypeError: If x or h has not the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.RNNCell(10, 20)
        >>> params = model.init(jax.random.key(0))
        >>> h = model.apply(params, jnp.ones((3, 10)))
        >>> model.apply(params, jnp.ones((3, 10)), h).shape
        (3, 20)

    References:
        Elman, Finding structure in time, 1990;
        [torch.nn.RNNCell](https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        dtype: Any = jnp.float32,
    ) -> None:
        self.nonlinearity = choice(nonlinearity, ELMAN, "RNNCell", "nonlinearity")
        super().__init__(input_size, hidden_size, bias, dtype)

    def _step(self) -> Step:
        return ELMAN[self.nonlinearity]

    def __call__(self, x: ArrayLike, hx: ArrayLike | None = None) -> jax.Array:
        """Step from hx, or from zeros, and return the state after."""
        (h,) = self._stepped(x, None if hx is None else (hx,))
        return h

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        named = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + named


class LSTMCell(_Cell):
    r"""Step a long short-term memory: $c' = f c + i g$ and $h' = o \tanh(c')$.

    Here $(i, f, g, o) = (\sigma, \sigma, \tanh, \sigma)(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})$.

    Args:
        input_size: The size of x.
        hidden_size: The size H of h and c.
        bias: Whether there are $b_{ih}$ and $b_{hh}$.
        dtype: The dtype of the parameters.

    Attributes:
        weight_ih: (4 H, input_size), the gates i, f, g, o one below the other, from U(-k, k) with
            k = 1 / sqrt(H), as all others are.
        weight_hh: (4 H, H).
        bias_ih: (4 H,).
        bias_hh: (4 H,).

    Called with x of shape (N, input_size) and (h, c) of shape (N, H) each, or all without N, it
    returns (h', c') of the same shapes; without (h, c) it steps from zeros. All have the
    parameters' dtype.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x, h or c has another shape, or the state is no pair.
        InputTypeError: If x, h or c has not the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.LSTMCell(10, 20)
        >>> params = model.init(jax.random.key(0))
        >>> h, c = model.apply(params, jnp.ones((3, 10)))
        >>> h, c = model.apply(params, jnp.ones((3, 10)), (h, c))
        >>> h.shape, c.shape
        ((3, 20), (3, 20))

    References:
        Hochreiter and Schmidhuber, Long short-term memory, 1997;
        [torch.nn.LSTMCell](https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html)
    """

    def _step(self) -> Step:
        return LSTM

    def __call__(
        self, x: ArrayLike, hx: tuple[ArrayLike, ArrayLike] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Step from hx = (h, c), or from zeros, and return the states after."""
        h, c = self._stepped(x, pair(self, hx))
        return h, c


class GRUCell(_Cell):
    r"""Step a gated recurrent unit: $h' = (1 - z) n + z h$.

    Here $(r, z) = \sigma(W_i x + b_i + W_h h + b_h)$ with the first 2 H rows, and
    $n = \tanh(W_i x + b_i + r (W_h h + b_h))$ with the last H.

    Args:
        input_size: The size of x.
        hidden_size: The size H of h.
        bias: Whether there are $b_i$ and $b_h$.
        dtype: The dtype of the parameters.

    Attributes:
        weight_ih: (3 H, input_size), the gates r, z, n one below the other, from U(-k, k) with
            k = 1 / sqrt(H), as all others are.
        weight_hh: (3 H, H).
        bias_ih: (3 H,).
        bias_hh: (3 H,).

    Called with x of shape (N, input_size) and h of shape (N, H), or both without N, it returns h'
    of h's shape; without h it steps from zeros. All have the parameters' dtype.

    Raises:
        ArgumentError: For arguments that cannot be meant.
        InputError: If x or h has another shape.
        InputTypeError: If x or h has not the parameters' dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.GRUCell(10, 20)
        >>> params = model.init(jax.random.key(0))
        >>> h = model.apply(params, jnp.ones((3, 10)))
        >>> model.apply(params, jnp.ones((3, 10)), h).shape
        (3, 20)

    References:
        Cho et al., [Learning phrase representations](https://arxiv.org/abs/1406.1078), 2014;
        [torch.nn.GRUCell](https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html)
    """

    def _step(self) -> Step:
        return GRU

    def __call__(self, x: ArrayLike, hx: ArrayLike | None = None) -> jax.Array:
        """Step from hx, or from zeros, and return the state after."""
        (h,) = self._stepped(x, None if hx is None else (hx,))
        return h


def pair(module: Module, states: Any) -> Any:
    """Refuse states of an LSTM that are not two; None is no state."""
    if states is None:
        return None
    if not isinstance(states, tuple | list):
        came = f"an array of shape {np.shape(states)}"
    elif len(cast("Sequence[Any]", states)) != 2:
        came = f"{len(cast('Sequence[Any]', states))} of them"
    else:
        return cast(Any, states)
    raise InputError(f"{title(module)}: expected hx to be a pair (h, c), got {came}.")
