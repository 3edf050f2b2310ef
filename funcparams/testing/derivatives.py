"""Outputs and gradients of a model over two sets of parameters, from one program."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp

from funcparams.testing.subject import Subject


class Derivatives:
    """Outputs and gradients of two rows at once: one program serves both checks."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.training = subject, subject.modes[-1]
        self.floats = [subject.arrays[index] for index in subject.floats]
        self.by_params = bool(jax.tree.leaves(subject.params))
        self.rows = self.by_params or bool(self.floats)
        self._results: Any = None
        self._failed = False

    def loss(self, params: Any, floats: Any) -> tuple[Any, Any]:
        """Square and sum the floating outputs: (sum, output)."""
        subject = self.subject
        arrays = list(subject.arrays)
        for index, array in zip(subject.floats, floats, strict=True):
            arrays[index] = array
        given = subject.model, params, subject.state, subject.key, arrays
        y, _ = subject.run(*given, training=self.training)
        squares = [
            jnp.sum(jnp.real(leaf * jnp.conj(leaf))) if jnp.iscomplexobj(leaf) else jnp.sum(leaf**2)
            for leaf in jax.tree.leaves(y)
            if jnp.issubdtype(leaf.dtype, jnp.inexact)
        ]
        # Outputs may have several dtypes, which strict promotion would not add.
        return sum((square.astype(jnp.float32) for square in squares), jnp.float32(0)), y

    def mapped(self) -> Any:
        """Give the outputs of both rows."""
        if (both := self._together()) is not None:
            return both[0][1]
        compiled = cast(Any, jax.jit(jax.vmap(self.loss, self._axes)))
        return compiled(*self._stacked())[1]

    def gradients(self) -> Any:
        """Give the gradients of the first row, by params and by floating inputs."""
        if (both := self._together()) is not None:
            return row(both[1], 0)
        compiled = cast(Any, jax.jit(self._differentiate()))
        return compiled(self.subject.params, self.floats)[1]

    def called(self, index: int) -> Any:
        """Call one row alone, by the program that the check of jit has compiled."""
        subject = self.subject
        if index == 0 or not self.by_params:
            return subject.result(self.training)
        given = subject.model, _doubled(subject.params), subject.state, subject.key, subject.arrays
        return subject.compiled(*given, training=self.training)

    @property
    def _axes(self) -> Any:
        return (0, None) if self.by_params else (None, 0)

    def _stacked(self) -> tuple[Any, Any]:
        params = self.subject.params
        if not self.by_params:
            return params, _stack(self.floats, self.floats)
        return _stack(params, _doubled(params)), self.floats

    def _differentiate(self) -> Any:
        # Parametrizations may hold integers; their gradients are of no size.
        return jax.value_and_grad(self.loss, (0, 1), has_aux=True, allow_int=True)

    def _together(self) -> Any:
        """Map the gradients, if nothing fails; else each check finds out what fails in its own."""
        if self._results is None and not self._failed:
            try:
                mapped = jax.vmap(self._differentiate(), self._axes)
                self._results = jax.jit(mapped)(*self._stacked())
            except Exception:
                self._failed = True
        return cast(Any, self._results)


def row(tree: Any, index: int) -> Any:
    """Give one row of a tree that was mapped."""

    def take(leaf: Any) -> Any:
        return leaf[index]

    return jax.tree.map(take, tree)


def _stack(one: Any, two: Any) -> Any:
    def stack(a: Any, b: Any) -> Any:
        return jnp.stack([a, b])

    return jax.tree.map(stack, one, two)


def _doubled(params: Any) -> Any:
    def double(leaf: Any) -> Any:
        return leaf * 2 if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.tree.map(double, params)
