"""What RNN, LSTM and GRU share: everything but the step."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from funcparams import init
from funcparams.core.trace import Tracer
from funcparams.module import Module, param
from funcparams.nn.checks import (
    ArgumentError,
    InputError,
    InputTypeError,
    matching,
    probability,
    title,
    whole,
)
from funcparams.nn.dropout import dropped
from funcparams.nn.linear import fan_uniform
from funcparams.nn.recurrent.scan import Weights, over_time
from funcparams.nn.recurrent.steps import State, Step, contract


class Recurrent(Module):
    """Layers and directions of one kind of recurrent network."""

    weight_ih_l0: jax.Array

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        dtype: Any,
    ) -> None:
        layer = type(self).__name__
        self.input_size = whole(input_size, layer, "input_size", 1)
        self.hidden_size = whole(hidden_size, layer, "hidden_size", 1)
        self.num_layers = whole(num_layers, layer, "num_layers", 1)
        self.bias = bool(bias)
        self.batch_first = bool(batch_first)
        self.dropout = float(probability(dropout, layer, "dropout"))
        self.bidirectional = bool(bidirectional)
        self.proj_size = whole(proj_size, layer, "proj_size")
        if self.dropout and self.num_layers == 1:
            raise ArgumentError(
                f"{layer}(dropout={dropout}, num_layers=1): dropout acts between layers, so with "
                "one it would do nothing.\n"
                "  Give num_layers=2 or more, or put an nn.Dropout after this layer."
            )
        if self.proj_size >= self.hidden_size:
            raise ArgumentError(
                f"{layer}(proj_size={proj_size}, hidden_size={hidden_size}): proj_size has to be "
                "smaller than hidden_size; 0 is no projection."
            )
        uniform = fan_uniform(self.hidden_size)
        for index in range(self.num_layers):
            for suffix in self._suffixes(index):
                self._declare(index, suffix, uniform, dtype)

    def _declare(self, index: int, suffix: str, uniform: init.uniform, dtype: Any) -> None:
        """Declare the parameters of one layer and direction, in PyTorch's order."""
        rows, outputs = self._step().gates * self.hidden_size, self._output_size
        inputs = outputs * (1 + self.bidirectional) if index else self.input_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, inputs),
            "weight_hh": (rows, outputs),
        }
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        for name, shape in shapes.items():
            setattr(self, name + suffix, param(shape, uniform, dtype))

    @abstractmethod
    def _step(self) -> Step:
        """Give what each layer and direction computes."""

    @property
    def _output_size(self) -> int:
        return self.proj_size or self.hidden_size

    def _suffixes(self, index: int) -> tuple[str, ...]:
        """Give what the names of a layer's parameters end with, for each direction."""
        forward = f"_l{index}"
        return (forward, f"{forward}_reverse") if self.bidirectional else (forward,)

    def _stepped(
        self, x: ArrayLike, given: Any, lengths: ArrayLike | None
    ) -> tuple[jax.Array, State]:
        """Run all layers; return the last one's outputs, and the last states of all."""
        x = self._checked(x)
        swapped = self.batch_first and x.ndim == 3
        if swapped:
            x = lax.transpose(x, (1, 0, 2))
        states = None if given is None else self._states(given, x.shape[1:-1])
        keep = None if lengths is None else self._kept(lengths, x)
        if keep is not None:
            x = jnp.where(keep, x, 0)  # what stands at padded places, NaN too, must not matter
        finals: list[State] = []
        for index in range(self.num_layers):
            if index and self.dropout and self.training:
                x = dropped(x, self.next_key(), self.dropout, x.shape)
            outputs: list[jax.Array] = []
            for suffix in self._suffixes(index):
                state = self._state(states, len(finals), x)
                y, final = self._direction(x, keep, suffix, state)
                outputs.append(y)
                finals.append(final)
            x = lax.concatenate(outputs, x.ndim - 1) if self.bidirectional else outputs[0]
        if keep is not None:
            x = jnp.where(keep, x, 0)
        if swapped:
            x = lax.transpose(x, (1, 0, 2))
        return x, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))

    def _direction(
        self, x: jax.Array, keep: jax.Array | None, suffix: str, state: State
    ) -> tuple[jax.Array, State]:
        """Run one layer in one direction."""
        step = self._step()
        z = contract(x, getattr(self, f"weight_ih{suffix}"))
        inner: jax.Array | None = None
        if self.bias:
            outer, inner = getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}")
            if not step.apart:
                outer, inner = outer + inner, None
            z = z + outer
        projection = getattr(self, f"weight_hr{suffix}") if self.proj_size else None
        weights = Weights(getattr(self, f"weight_hh{suffix}"), inner, projection)
        reverse = suffix.endswith("_reverse")
        return over_time(step, reverse, step.split(z), keep, weights, state)

    # What is checked

    def _checked(self, x: ArrayLike) -> jax.Array:
        x = matching(self, x, self.weight_ih_l0)
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size:
            size = f"input_size={self.input_size}"
            batched = f"(N, L, {size})" if self.batch_first else f"(L, N, {size})"
            raise InputError(
                f"{title(self)}: expected an input of shape {batched}, or (L, {size}) without a "
                f"batch axis, got shape {x.shape}."
            )
        if x.shape[1 if self.batch_first and x.ndim == 3 else 0] == 0:
            raise InputError(
                f"{title(self)}: expected a sequence of one step or more, got shape {x.shape}."
            )
        return x

    def _sizes(self) -> tuple[int, ...]:
        """Give the sizes of the state's parts; only the hidden one is projected."""
        return (self._output_size, self.hidden_size)[: len(self._step().states)]

    def _states(self, given: Any, batch: tuple[int, ...]) -> State:
        """Check the initial states of all layers and directions."""
        checked: list[jax.Array] = []
        count = self.num_layers * (1 + self.bidirectional)
        for name, size, value in zip(self._step().states, self._sizes(), given, strict=True):
            value = matching(self, value, self.weight_ih_l0, f"{name}_0")
            shape = (count, *batch, size)
            if value.shape != shape:
                raise InputError(
                    f"{title(self)}: expected {name}_0 of shape {shape} beside this input, one "
                    f"entry for each layer and direction, got shape {value.shape}."
                )
            checked.append(value)
        return tuple(checked)

    def _state(self, states: State | None, index: int, x: jax.Array) -> State:
        """Give the initial state of one layer and direction."""
        if states is None:
            return tuple(jnp.zeros((*x.shape[1:-1], size), x.dtype) for size in self._sizes())
        return tuple(lax.index_in_dim(each, index, keepdims=False) for each in states)

    def _kept(self, lengths: ArrayLike, x: jax.Array) -> jax.Array:
        """Say at which places of the input there are sequences; of its rank, the last axis is 1."""
        given = cast(Any, lengths if isinstance(lengths, Tracer) else np.asarray(lengths))
        if not jnp.issubdtype(given.dtype, jnp.integer):
            raise InputTypeError(
                f"{title(self)}: expected lengths to be integers, got {given.dtype}"
                f"{list(given.shape)}."
            )
        if given.shape != x.shape[1:-1]:
            raise InputError(
                f"{title(self)}: expected lengths of shape {x.shape[1:-1]}, one for each sequence, "
                f"got shape {given.shape}."
            )
        if (
            isinstance(given, np.ndarray)
            and given.size
            and not 0 <= given.min() <= given.max() <= len(x)
        ):
            raise InputError(
                f"{title(self)}: expected lengths from 0 to {len(x)}, the length of the input, got "
                f"{given.tolist()}."
            )
        ends = lax.expand_dims(jnp.asarray(given, jnp.int32), (0, given.ndim + 1))
        return lax.broadcasted_iota(jnp.int32, (len(x), *x.shape[1:-1], 1), 0) < ends

    def extra_repr(self) -> str:
        """Write the arguments as PyTorch does."""
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", proj_size={self.proj_size}" if self.proj_size else ""
        text += f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        text += "" if self.bias else ", bias=False"
        text += ", batch_first=True" if self.batch_first else ""
        text += f", dropout={self.dropout}" if self.dropout else ""
        return text + (", bidirectional=True" if self.bidirectional else "")
