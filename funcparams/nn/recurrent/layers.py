"""Recurrent networks over sequences: `RNN`, `LSTM` and `GRU`."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from funcparams.nn.checks import choice
from funcparams.nn.recurrent.base import Recurrent
from funcparams.nn.recurrent.cells import pair
from funcparams.nn.recurrent.steps import ELMAN, Step
from funcparams.nn.recurrent.steps import GRU as _GRU
from funcparams.nn.recurrent.steps import LSTM as _LSTM


class RNN(Recurrent):
    r"""Run an Elman network: $h_t = \tanh(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})$.

    Time runs in one `lax.scan` for each layer and direction, so neither compile time nor the
    program grows with the sequence.

    Args:
        input_size: The size of $x_t$.
        hidden_size: The size H of $h_t$.
        num_layers: How many layers stand on one another; each takes the outputs of the one below.
        nonlinearity: `"tanh"`, or `"relu"` in its place.
        bias: Whether there are $b_{ih}$ and $b_{hh}$.
        batch_first: Whether data is (N, L, ...) instead of (L, N, ...); states are the same.
        dropout: The probability of zeros in the outputs of all layers but the last, in training.
        bidirectional: Whether each layer also runs from the end, with parameters of its own.
        dtype: The dtype of the parameters.

    Attributes:
        weight_ih_l0: (H, input_size), from U(-k, k) with k = 1 / sqrt(H), as all others are;
            (H, D H) in the layers above, where D is 2 if bidirectional, else 1.
        weight_hh_l0: (H, H).
        bias_ih_l0: (H,).
        bias_hh_l0: (H,).

    Other layers' parameters end in `_l1`, `_l2`, ..., the other direction's in `_l0_reverse`, ....

    Called with x of shape (L, N, input_size), or (L, input_size) without a batch axis, it returns
    the outputs (L, N, D H), and the last state of all layers and directions (D num_layers, N, H),
    which can be given to the next call as `hx`; without it the state starts at zeros. All arrays
    have the parameters' dtype.

    `lengths=` takes the place of packed sequences: integers (N,), in any order, also traced ones.
    What stands behind the end of a sequence does not matter then; outputs there are 0, the last
    state is that at the sequence's own end, and the other direction starts there. Longer ones
    than L count as L under a trace; a sequence of length 0 keeps its initial state.

    Raises:
        ArgumentError: For arguments that cannot be meant; dropout with one layer is one of them.
        InputError: If x, hx or lengths have other shapes, or a length is not from 0 to L.
        InputTypeError: If x or hx has not the parameters' dtype, or lengths are no integers.
        KeyRequiredError: In training with dropout, without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.RNN(10, 20, num_layers=2)
        >>> model
        RNN(10, 20, num_layers=2)
        >>> y, h = model.apply(model.init(jax.random.key(0)), jnp.ones((5, 3, 10)))
        >>> y.shape, h.shape
        ((5, 3, 20), (2, 3, 20))

    References:
        Elman, Finding structure in time, 1990;
        [torch.nn.RNN](https://docs.pytorch.org/docs/stable/generated/torch.nn.RNN.html)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = jnp.float32,
    ) -> None:
        self.nonlinearity = choice(nonlinearity, ELMAN, "RNN", "nonlinearity")
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *options, 0, dtype)

    def _step(self) -> Step:
        return ELMAN[self.nonlinearity]

    def __call__(
        self, x: ArrayLike, hx: ArrayLike | None = None, *, lengths: ArrayLike | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Run over x of shape (L, N, input_size) from hx, or from zeros."""
        y, (h,) = self._stepped(x, None if hx is None else (hx,), lengths)
        return y, h


class LSTM(Recurrent):
    r"""Run a long short-term memory: $c_t = f_t c_{t-1} + i_t g_t$ and $h_t = o_t \tanh(c_t)$.

    Here $(i, f, g, o) = (\sigma, \sigma, \tanh, \sigma)(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} +
    b_{hh})$; with proj_size, $h_t = W_{hr} (o_t \tanh(c_t))$.

    Time runs in one `lax.scan` for each layer and direction, so neither compile time nor the
    program grows with the sequence.

    Args:
        input_size: The size of $x_t$.
        hidden_size: The size H of $c_t$, and of $h_t$ without proj_size.
        num_layers: How many layers stand on one another; each takes the outputs of the one below.
        bias: Whether there are $b_{ih}$ and $b_{hh}$.
        batch_first: Whether data is (N, L, ...) instead of (L, N, ...); states are the same.
        dropout: The probability of zeros in the outputs of all layers but the last, in training.
        bidirectional: Whether each layer also runs from the end, with parameters of its own.
        proj_size: The size of $h_t$, smaller than H; 0 is no projection.
        dtype: The dtype of the parameters.

    Attributes:
        weight_ih_l0: (4 H, input_size), the gates i, f, g, o one below the other, from U(-k, k)
            with k = 1 / sqrt(H), as all others are; (4 H, D P) in the layers above, where P is the
            size of $h_t$ and D is 2 if bidirectional, else 1.
        weight_hh_l0: (4 H, P).
        bias_ih_l0: (4 H,).
        bias_hh_l0: (4 H,).
        weight_hr_l0: (P, H), with proj_size only.

    Other layers' parameters end in `_l1`, `_l2`, ..., the other direction's in `_l0_reverse`, ....

    Called with x of shape (L, N, input_size), or (L, input_size) without a batch axis, it returns
    the outputs (L, N, D P), and the pair of last states of all layers and directions,
    (D num_layers, N, P) and (D num_layers, N, H), which can be given to the next call as `hx`;
    without it they start at zeros. All arrays have the parameters' dtype.

    `lengths=` takes the place of packed sequences: integers (N,), in any order, also traced ones.
    What stands behind the end of a sequence does not matter then; outputs there are 0, the last
    states are those at the sequence's own end, and the other direction starts there. Longer ones
    than L count as L under a trace; a sequence of length 0 keeps its initial states.

    Raises:
        ArgumentError: For arguments that cannot be meant; dropout with one layer is one of them.
        InputError: If x, hx or lengths have other shapes, or a length is not from 0 to L.
        InputTypeError: If x or hx has not the parameters' dtype, or lengths are no integers.
        KeyRequiredError: In training with dropout, without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.LSTM(10, 20, batch_first=True, bidirectional=True)
        >>> params = model.init(jax.random.key(0))
        >>> lengths = jnp.array([5, 2, 4])
        >>> y, (h, c) = model.apply(params, jnp.ones((3, 5, 10)), lengths=lengths)
        >>> y.shape, h.shape, c.shape
        ((3, 5, 40), (2, 3, 20), (2, 3, 20))
        >>> bool((y[1, 2:] == 0).all()), bool((y[1, 1, :20] == h[0, 1]).all())
        (True, True)

    References:
        Hochreiter and Schmidhuber, Long short-term memory, 1997;
        Sak et al., [LSTM based recurrent architectures](https://arxiv.org/abs/1402.1128), 2014;
        [torch.nn.LSTM](https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: Any = jnp.float32,
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *options, proj_size, dtype)

    def _step(self) -> Step:
        return _LSTM

    def __call__(
        self,
        x: ArrayLike,
        hx: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Run over x of shape (L, N, input_size) from hx = (h_0, c_0), or from zeros."""
        y, (h, c) = self._stepped(x, pair(self, hx), lengths)
        return y, (h, c)


class GRU(Recurrent):
    r"""Run a gated recurrent unit: $h_t = (1 - z_t) n_t + z_t h_{t-1}$.

    Here $(r, z) = \sigma(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh})$ with the first 2 H rows,
    and $n = \tanh(W_{ih} x_t + b_{ih} + r (W_{hh} h_{t-1} + b_{hh}))$ with the last H.

    Time runs in one `lax.scan` for each layer and direction, so neither compile time nor the
    program grows with the sequence.

    Args:
        input_size: The size of $x_t$.
        hidden_size: The size H of $h_t$.
        num_layers: How many layers stand on one another; each takes the outputs of the one below.
        bias: Whether there are $b_{ih}$ and $b_{hh}$.
        batch_first: Whether data is (N, L, ...) instead of (L, N, ...); states are the same.
        dropout: The probability of zeros in the outputs of all layers but the last, in training.
        bidirectional: Whether each layer also runs from the end, with parameters of its own.
        dtype: The dtype of the parameters.

    Attributes:
        weight_ih_l0: (3 H, input_size), the gates r, z, n one below the other, from U(-k, k) with
            k = 1 / sqrt(H), as all others are; (3 H, D H) in the layers above, where D is 2 if
            bidirectional, else 1.
        weight_hh_l0: (3 H, H).
        bias_ih_l0: (3 H,).
        bias_hh_l0: (3 H,).

    Other layers' parameters end in `_l1`, `_l2`, ..., the other direction's in `_l0_reverse`, ....

    Called with x of shape (L, N, input_size), or (L, input_size) without a batch axis, it returns
    the outputs (L, N, D H), and the last state of all layers and directions (D num_layers, N, H),
    which can be given to the next call as `hx`; without it the state starts at zeros. All arrays
    have the parameters' dtype.

    `lengths=` takes the place of packed sequences: integers (N,), in any order, also traced ones.
    What stands behind the end of a sequence does not matter then; outputs there are 0, the last
    state is that at the sequence's own end, and the other direction starts there. Longer ones
    than L count as L under a trace; a sequence of length 0 keeps its initial state.

    Raises:
        ArgumentError: For arguments that cannot be meant; dropout with one layer is one of them.
        InputError: If x, hx or lengths have other shapes, or a length is not from 0 to L.
        InputTypeError: If x or hx has not the parameters' dtype, or lengths are no integers.
        KeyRequiredError: In training with dropout, without a key.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.GRU(10, 20, num_layers=2, dropout=0.5)
        >>> x, params = jnp.ones((5, 3, 10)), model.init(jax.random.key(0))
        >>> y, h = model.apply(params, x, key=jax.random.key(1), training=True)
        >>> y.shape, h.shape
        ((5, 3, 20), (2, 3, 20))

    References:
        Cho et al., [Learning phrase representations](https://arxiv.org/abs/1406.1078), 2014;
        [torch.nn.GRU](https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        dtype: Any = jnp.float32,
    ) -> None:
        options = (num_layers, bias, batch_first, dropout, bidirectional)
        super().__init__(input_size, hidden_size, *options, 0, dtype)

    def _step(self) -> Step:
        return _GRU

    def __call__(
        self, x: ArrayLike, hx: ArrayLike | None = None, *, lengths: ArrayLike | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Run over x of shape (L, N, input_size) from hx, or from zeros."""
        y, (h,) = self._stepped(x, None if hx is None else (hx,), lengths)
        return y, h
