"""What is checked: a model with what it is called with, and what several checks need of that."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.core.bind import state_of
from funcparams.core.definition import Bound, record
from funcparams.core.keys import check_key
from funcparams.module import Module
from funcparams.module.call import call

T = TypeVar("T")


class NotApplicableError(Exception):
    """A check has nothing to look at in this model; the text says why."""


class Tolerance(NamedTuple):
    """How far two results may be apart."""

    rtol: float
    atol: float


# By the size of the coarsest floating number that occurs. Compiled, XLA adds in another order.
_TOLERANCES = {8: Tolerance(1e-9, 1e-11), 4: Tolerance(1e-4, 1e-5), 2: Tolerance(5e-2, 5e-2)}
_ARRAY = object()


class Shapes(NamedTuple):
    """The shapes and dtypes of all arrays that a call is given."""

    params: Any
    state: Any
    key: Any
    arrays: tuple[Any, ...]


class Subject:
    """A model and a call of it; arrays among the arguments are traced, all else is as it is."""

    def __init__(
        self,
        model: Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        params: Mapping[str, Any] | None,
        state: Mapping[str, Any] | None,
        key: jax.Array | None,
        modes: tuple[bool, ...],
        method: str,
        tolerance: tuple[float | None, float | None],
    ) -> None:
        self.model, self.modes, self.method = model, modes, method
        key = jax.random.key(0) if key is None else check_key(key)
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        # JAX can tell whether a key is used twice only of a typed one.
        self.key: Any = key if typed else jax.random.wrap_key_data(key)
        flatten = cast(Any, jax.tree_util.tree_flatten_with_path)
        leaves, self._tree = flatten((args, dict(kwargs)))
        self._leaves = [_ARRAY if _is_array(leaf) else leaf for _, leaf in leaves]
        self.arrays = tuple(_array(leaf) for _, leaf in leaves if _is_array(leaf))
        self.array_names = tuple(_called(path) for path, leaf in leaves if _is_array(leaf))
        self._params = None if params is None else jax.tree.map(_array, params)
        self._state = None if state is None else jax.tree.map(_array, state)
        self._tolerance = tolerance
        self.drawing: set[bool] = set()
        self.updated: dict[bool, list[str]] = {}
        self._kept: dict[Any, Any] = {}

    # What it is called with

    @functools.cached_property
    def fresh(self) -> dict[str, Any]:
        """What the model's own `init` draws."""
        return self.model.init(self.key)

    @functools.cached_property
    def params(self) -> Any:
        """The parameters of the call."""
        return self.fresh if self._params is None else self._params

    @functools.cached_property
    def state(self) -> Any:
        """The buffers of the call."""
        return self.model.init_state(self.key) if self._state is None else self._state

    @functools.cached_property
    def shapes(self) -> Shapes:
        """Shapes and dtypes of the call, got without drawing anything."""
        params = self.model.abstract() if self._params is None else self._params
        state = self.model.abstract_state() if self._state is None else self._state
        return jax.tree.map(_struct, Shapes(params, state, self.key, self.arrays))

    @property
    def abstract(self) -> bool:
        """Whether something has a shape and no numbers, so that nothing can be computed."""
        given = jax.tree.leaves((self.arrays, self._params, self._state))
        return any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in given)

    @functools.cached_property
    def floats(self) -> tuple[int, ...]:
        """Which of the arrays are floating, so that there are derivatives by them."""
        inexact = (jnp.issubdtype(array.dtype, jnp.inexact) for array in self.arrays)
        return tuple(index for index, floating in enumerate(inexact) if floating)

    # Calls

    def run(
        self, model: Any, params: Any, state: Any, key: Any, arrays: Any, training: bool
    ) -> tuple[Any, Any]:
        """Call the model: (output, new state)."""
        rest = iter(arrays)
        leaves = [next(rest) if leaf is _ARRAY else leaf for leaf in self._leaves]
        args, kwargs = jax.tree.unflatten(self._tree, leaves)
        view = model.bind(params, state, key=key, training=training)
        if self.method == "__call__":
            y = call(view, args, kwargs)
        else:
            y = getattr(view, self.method)(*args, **kwargs)
        context = cast(Bound, record(view)).context
        if context.counts:
            self.drawing.add(training)
        self.updated[training] = list(context.updated.values())
        return y, state_of(view)

    def outline(self, training: bool, model: Any = None, shapes: Shapes | None = None) -> Any:
        """Give shapes and dtypes of (output, new state) of a call."""
        run = functools.partial(self.run, model or self.model, training=training)
        return jax.eval_shape(run, *(shapes or self.shapes))

    def eager(self, training: bool) -> Any:
        """Call the model without compiling it."""
        given = self.model, self.params, self.state, self.key, self.arrays
        return jax.tree.map(_array, self.run(*given, training=training))

    @functools.cached_property
    def compiled(self) -> Any:
        """The compiled call."""
        return jax.jit(self.run, static_argnums=0, static_argnames="training")

    @functools.cached_property
    def results(self) -> dict[bool, Any]:
        """What the compiled call gave, by its mode."""
        return {}

    def result(self, training: bool) -> Any:
        """Give what the compiled call gives."""
        if training not in self.results:
            given = self.model, self.params, self.state, self.key, self.arrays
            self.results[training] = self.compiled(*given, training=training)
        return self.results[training]

    def kept(self, make: Callable[[Subject], T]) -> T:
        """Give what a function makes of this subject, made once."""
        if make not in self._kept:
            self._kept[make] = make(self)
        return self._kept[make]

    # What it is compared with

    @functools.cached_property
    def not_importable(self) -> list[str]:
        """The classes of modules that pickle cannot find by their name."""
        classes = {type(module) for module in self.model.modules()}
        return sorted(cls.__qualname__ for cls in classes if not _importable(cls))

    @functools.cached_property
    def twins(self) -> dict[str, Module]:
        """Definitions built anew that should be equal to the model, by how they were."""
        made = {"copy.deepcopy(model)": copy.deepcopy(self.model)}
        if not self.not_importable:
            with contextlib.suppress(Exception):  # the check of pickle says so
                made["pickle.loads(pickle.dumps(model))"] = pickle.loads(pickle.dumps(self.model))
        return made

    @property
    def tolerance(self) -> Tolerance:
        """How far results may be apart: as asked, or by the dtypes that occur."""
        arrays = jax.tree.leaves((self.shapes, self.results))
        sizes = [
            leaf.dtype.itemsize // (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1)
            for leaf in arrays
            if jnp.issubdtype(leaf.dtype, jnp.inexact)
        ]
        known = _TOLERANCES[max(2, min(sizes, default=4))]
        rtol, atol = self._tolerance
        return Tolerance(known.rtol if rtol is None else rtol, known.atol if atol is None else atol)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _array(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.ShapeDtypeStruct) else jnp.asarray(leaf)


def _struct(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _called(path: Any) -> str:
    """Name an argument as it was given: `args[0]`, or by its keyword."""
    which, *rest = path
    inner = jax.tree_util.keystr(tuple(rest))
    if which.idx == 0:
        return f"args{inner}"
    return f"{rest[0].key}{jax.tree_util.keystr(tuple(rest[1:]))}"


def _importable(cls: type) -> bool:
    found: Any = sys.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls
