"""Drawing declared arrays, each from a key of its own name; the classes of our initializers."""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from funcparams.core.errors import InitializerError, KeyRequiredError
from funcparams.core.keys import check_key, derive, words
from funcparams.core.trace import under_trace
from funcparams.drawing.noise import CHUNK, Job, Recipe, Words, draw_noise, traced

_NO_WORDS: Words = np.zeros(0, np.uint32)


class Request(Protocol):
    """What is asked for: an array of a shape and dtype, by an initializer."""

    @property
    def init(self) -> Callable[..., jax.Array]:
        """A pure function (key, shape, dtype) -> Array."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        ...

    @property
    def dtype(self) -> Any:
        """The array's dtype."""
        ...


class Checked:
    """An initializer that can tell, without drawing, what it will refuse."""

    random: ClassVar[bool]

    def check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Raise an InitializerError for a shape or dtype that cannot be initialised so."""


class Fixed(Checked, abc.ABC):
    """An initializer that draws nothing, and so needs neither a key nor a compiled program."""

    random = False

    @abc.abstractmethod
    def make(self, shape: tuple[int, ...], dtype: np.dtype[Any], xp: Any) -> Any:
        """Make the values, in a new array, with `xp`, which is numpy or jax.numpy."""

    def __call__(
        self, key: jax.Array | None, shape: Sequence[int], dtype: Any = jnp.float32
    ) -> jax.Array:
        """Make the array; the key is not used, and may be None."""
        asked = _Asked(self, tuple(shape), np.dtype(dtype))
        asked.check()
        return _fixed(asked)


class Random(Checked, abc.ABC):
    """An initializer that draws random numbers."""

    random = True

    @abc.abstractmethod
    def sample(self, key: jax.Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> jax.Array:
        """Draw the array; runs under a trace."""

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        """Draw the array from the key itself."""
        asked = _Asked(self, tuple(shape), np.dtype(dtype))
        asked.check()
        return _draw([asked], check_key(key), [_NO_WORDS])[0]


class Noisy(Random):
    """An initializer whose values are scaled and shifted noise, as nearly all are."""

    @abc.abstractmethod
    def recipe(self, shape: tuple[int, ...]) -> Recipe:
        """Say what noise, and how it is scaled for a shape without zeros in it."""

    def check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Refuse a shape without the fans asked for, and complex values but normal ones."""
        recipe = self.recipe(tuple(max(size, 1) for size in shape))
        if jnp.issubdtype(dtype, jnp.complexfloating) and recipe.kind != "normal":
            raise InitializerError(
                f"{self!r} draws real numbers, not {dtype.name}: use a normal one"
            )

    def sample(self, key: jax.Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> jax.Array:
        """Draw the array."""
        return draw_noise([self.job(shape, dtype, _NO_WORDS)], key)[0]

    def job(self, shape: tuple[int, ...], dtype: np.dtype[Any], words: Words) -> Job:
        """Give the job that draws one array."""
        return Job(self.recipe(tuple(max(size, 1) for size in shape)), shape, dtype, words)


def draw(
    requests: Mapping[str, Request], key: jax.Array | None, kind: str = "param"
) -> dict[str, jax.Array]:
    """Draw arrays, each from the key that `kind`, "/" and its dotted name derive from `key`.

    Values depend on nothing but the key and an array's own name, initializer, shape and dtype:
    neither on the other requests nor on their order. They are the same bits, on one backend and
    version of JAX and with threefry keys, outside of every trace, under `jax.jit`, and mapped over
    keys; under `jax.disable_jit` they are the same up to rounding.

    Args:
        requests: What to draw, under the owners' dotted names.
        key: One key; None will do if no initializer draws random numbers.
        kind: "param" or "buffer".

    Returns:
        The arrays under the same names, in the same order.

    Raises:
        KeyArgumentError: If `key` is not one key.
        KeyRequiredError: If `key` is None and an initializer draws.
        InitializerError: If an initializer cannot give, or did not give, the shape and dtype asked
            for. One error names every array concerned.

    Example:
        >>> import jax, numpy as np
        >>> from funcparams.module import param
        >>> request = param((2, 3), jax.nn.initializers.normal())
        >>> one = draw({"weight": request}, jax.random.key(0))
        >>> two = draw({"bias": request, "weight": request}, jax.random.key(0))
        >>> bool((one["weight"] == two["weight"]).all())
        True
    """
    if key is not None:
        check_key(key)
    asked = {
        name: _Asked(_FILLS.get(id(request.init), request.init), request.shape, request.dtype)
        for name, request in requests.items()
    }
    if key is None:
        _refuse_random(asked, kind)
    _check_all(asked, key, kind)
    folded = [words(f"{kind}/{name}") for name in asked]
    return dict(zip(asked, _draw(list(asked.values()), key, folded), strict=True))


class _Asked(NamedTuple):
    """One request, taken apart."""

    init: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def check(self) -> None:
        """Refuse what is known to be impossible before anything is drawn."""
        dtype = self.dtype
        possible = jax.dtypes.canonicalize_dtype(dtype)
        if possible != dtype:
            raise InitializerError(
                f"{dtype.name} needs jax.config.update('jax_enable_x64', True); without, JAX "
                f"makes {possible.name} of it: declare dtype=jnp.{possible.name}, or enable it"
            )
        if isinstance(self.init, Random) and not jnp.issubdtype(dtype, jnp.inexact):
            raise InitializerError(
                f"{self.init!r} draws floating-point numbers, not {dtype.name}: "
                "declare a floating dtype, or use init.constant or init.array"
            )
        if isinstance(self.init, Fixed | Random):
            self.init.check(self.shape, dtype)

    def check_foreign(self, key: jax.Array | None) -> None:
        """Find out, without computing, what somebody else's initializer returns."""
        function = _Held(self.init)
        like = None if key is None else jax.ShapeDtypeStruct(key.shape, key.dtype)
        came = _abstract(function, self.shape, self.dtype, like)
        if getattr(came, "shape", None) == self.shape and came.dtype == self.dtype:
            return
        wanted = f"an array of shape {self.shape} and dtype {self.dtype.name}"
        if isinstance(came, jax.ShapeDtypeStruct):
            text = f"one of shape {came.shape} and dtype {came.dtype.name}"
        else:
            text = f"a {type(came).__name__}"
        raise InitializerError(
            f"expected {wanted}, got {text} from {self.init!r}: an initializer returns the "
            "`shape` and `dtype` that it is called with, (key, shape, dtype) -> Array"
        )


def _check_all(asked: Mapping[str, _Asked], key: jax.Array | None, kind: str) -> None:
    """Check every request; report all that fail in one error."""
    problems: list[str] = []
    for name, each in asked.items():
        try:
            each.check()
            if not isinstance(each.init, Fixed | Random):
                each.check_foreign(key)
        except InitializerError as error:
            problems.append(f"{name}: {error}")
        except Exception as error:
            error.add_note(
                f"while drawing {_WORD[kind]} {name!r} of shape {each.shape} and dtype "
                f"{each.dtype.name} by {each.init!r}"
            )
            raise
    if problems:
        count = f"{len(problems)} {_WORD[kind]}{'s' if len(problems) > 1 else ''}"
        raise InitializerError("\n  ".join([f"cannot initialise {count}:", *problems]))


def _refuse_random(asked: Mapping[str, _Asked], kind: str) -> None:
    drawing = [
        f"{name} by {each.init!r}"
        for name, each in asked.items()
        if getattr(each.init, "random", True)
    ]
    if drawing:
        drawing.append("Give one, for instance key=jax.random.key(0).")
        first = f"no key was given, but these {_WORD[kind]}s draw random numbers:"
        raise KeyRequiredError("\n  ".join([first, *drawing]))


def _draw(
    asked: Sequence[_Asked], key: jax.Array | None, folded: Sequence[Words]
) -> list[jax.Array]:
    """Draw checked requests: constants, noise, and whatever else, each in its cheapest way."""
    results: dict[int, jax.Array] = {}
    jobs: dict[int, Job] = {}
    others: dict[tuple[_Held, tuple[int, ...], np.dtype[Any]], list[int]] = {}
    for index, (init, shape, dtype) in enumerate(asked):
        if isinstance(init, Fixed):
            results[index] = _fixed(asked[index])
        elif isinstance(init, Noisy):
            jobs[index] = init.job(shape, dtype, folded[index])
        else:
            others.setdefault((_Held(init), shape, dtype), []).append(index)
    if jobs:
        assert key is not None
        results.update(zip(jobs, draw_noise(list(jobs.values()), key), strict=True))
    for (held, shape, dtype), members in others.items():
        listed = [folded[index] for index in members]
        if traced(key):
            drawn = cast(
                "list[jax.Array]", _traced_program(held, shape, dtype, key, np.stack(listed))
            )
        else:
            drawn = [_program(held, shape, dtype)(key, each) for each in listed]
        results.update(zip(members, drawn, strict=True))
    return [results[index] for index in range(len(asked))]


def _fixed(asked: _Asked) -> jax.Array:
    init, shape, dtype = asked
    if under_trace() or math.prod(shape) > 16 * CHUNK:
        return init.make(shape, dtype, jnp)
    # No program to compile; and nobody else holds the array, should JAX use its memory as is.
    return jax.device_put(init.make(shape, dtype, np))


# --- other people's initializers: one small program for each (initializer, shape, dtype) ---------


class _Held:
    """An initializer as the key of a cache: equal if it is sure to draw alike."""

    __slots__ = ("identity", "init")

    def __init__(self, init: Any) -> None:
        self.init = init
        self.identity = _identity(init)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __call__(
        self, key: jax.Array | None, words: Any, shape: tuple[int, ...], dtype: Any
    ) -> jax.Array:
        own = None if key is None else derive(key, words)
        function: Any = self.init.sample if isinstance(self.init, Random) else self.init
        return function(own, shape, dtype)


def _identity(init: Any) -> Any:
    """Take partials apart; what cannot be hashed is equal to itself alone."""
    part = init
    try:
        if isinstance(init, functools.partial):
            values = (*part.args, *part.keywords.values())
            parts = (_identity(part.func), len(part.args), tuple(part.keywords), values)
            hash(parts)
            return (*parts, *(type(value) for value in values))
        hash(init)
        return init
    except TypeError:
        return ("unhashable", id(part))


@functools.lru_cache(maxsize=1024)
def _program(
    held: _Held, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[[jax.Array | None, Any], jax.Array]:
    def funcparams_draw(key: jax.Array | None, words: Any) -> jax.Array:
        return held(key, words, shape, dtype)

    return jax.jit(funcparams_draw)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _traced_program(
    held: _Held, shape: tuple[int, ...], dtype: np.dtype[Any], key: jax.Array | None, words: Any
) -> list[jax.Array]:
    """Draw equal requests by one loop over their words, shut off from what stands around it."""
    words = lax.optimization_barrier(words)
    if words.shape[0] == 1:
        drawn = [held(key, words[0], shape, dtype)]
    else:

        def one(each: jax.Array) -> jax.Array:
            return held(key, each, shape, dtype)

        stack = cast(jax.Array, lax.map(one, words))
        drawn = [stack[index] for index in range(words.shape[0])]
    return lax.optimization_barrier(drawn)


@functools.lru_cache(maxsize=1024)
def _abstract(held: _Held, shape: tuple[int, ...], dtype: np.dtype[Any], key: Any) -> Any:
    def abstract_draw(key: jax.Array | None) -> jax.Array:
        return held(key, _NO_WORDS, shape, dtype)

    return jax.eval_shape(abstract_draw, key)


class _Fill(Fixed):
    """What jax.nn.initializers.zeros and ones do, without a program to compile."""

    def __init__(self, value: int) -> None:
        self.value = value

    def make(self, shape: tuple[int, ...], dtype: np.dtype[Any], xp: Any) -> Any:
        return xp.full(shape, self.value, dtype)


_FILLS: Mapping[int, Fixed] = {
    id(jax.nn.initializers.zeros): _Fill(0),
    id(jax.nn.initializers.ones): _Fill(1),
}
_WORD = {"param": "parameter", "buffer": "buffer"}
