"""Noise in chunks: random numbers from few compiled programs, with the same bits on every way.

Compiling a random draw costs 0.2 s, whatever its shape, and running one costs a millisecond. So the
numbers of every array come in chunks of one fixed size, each from a key of its own (the array's key
with the chunk's index folded in), and what differs from array to array is left to a cheap finish:
cut, reshape, scale, shift. Outside of every trace one compiled program serves all chunks; under
somebody's jit one loop does. Both run the same sampler on the same keys and the same finish on its
result, and a barrier keeps XLA from merging the two, so the bits agree.
"""

from __future__ import annotations

import collections
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from funcparams.core.trace import Tracer, under_trace

CHUNK = 1 << 18
"""Numbers in a chunk. It is part of what decides the values: another size gives other numbers."""

_TAILS = (1 << 10, 1 << 12, 1 << 14, 1 << 16)
"""Sizes in which the last, partial chunk of an array may be drawn (see `_tail_sizes`)."""

_MANY = 256  # From so many arrays on, a smaller program saves more time than its compilation costs.
_LARGE = 64  # Arrays of more chunks get a program of their own, which needs no second copy.
_AHEAD = 32  # Chunks that are drawn ahead, while the next finish is compiled.
_INDEXED = 1 << 31  # Further no int32 index reaches; the index of a row does.
_STACK = 256  # Chunks that one loop under a trace draws at least, if there are so many.

Kind: TypeAlias = Literal["uniform", "normal", "truncated", "tail"]
Words: TypeAlias = NDArray[np.uint32]


class Recipe(NamedTuple):
    """How noise becomes an array's values: `clip(noise * scale + shift, low, high)`.

    The noise is uniform on [0, 1); or standard normal; or truncated normal, where `limits` are the
    values of erf(x / sqrt(2)) at both ends, or for a tail those of the distribution function.
    """

    kind: Kind
    scale: float
    shift: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    limits: tuple[float, float] = (0.0, 0.0)


class Job(NamedTuple):
    """One array to be drawn; the words lead from the common key to its own."""

    recipe: Recipe
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    words: Words

    @property
    def noise_dtype(self) -> np.dtype[Any]:
        """Half precision is drawn in float32 and rounded: bfloat16 noise has 128 values a sign."""
        return np.dtype(np.float64 if self.dtype.name in ("float64", "complex128") else np.float32)

    @property
    def parts(self) -> int:
        """How many random numbers an entry takes: two if it is complex."""
        return 2 if jnp.issubdtype(self.dtype, jnp.complexfloating) else 1

    @property
    def needed(self) -> int:
        """How many random numbers the array takes."""
        return self.parts * math.prod(self.shape)

    def numbers(self) -> NDArray[Any]:
        """Give what the finish needs, as an argument, so that one program serves all recipes."""
        recipe = self.recipe
        scale = recipe.scale / math.sqrt(self.parts)
        if recipe.kind in ("normal", "truncated"):
            # Were the noise scaled by it, XLA might multiply the two constants before the noise.
            scale *= math.sqrt(2)
        return np.array([scale, recipe.shift, recipe.low, recipe.high], self.noise_dtype)

    def limits(self) -> NDArray[Any]:
        """Give the limits of truncated noise."""
        return np.array(self.recipe.limits, self.noise_dtype)


def traced(key: Any) -> bool:
    """Say whether a draw from the key is to become part of somebody's program."""
    return under_trace() or isinstance(key, Tracer)


def draw_noise(jobs: Sequence[Job], key: jax.Array) -> list[jax.Array]:
    """Draw arrays, each from the key that its words derive from the common one.

    Args:
        jobs: What to draw; every `words` has the same length, which may be 0.
        key: One key; it may be traced.

    Returns:
        The arrays, in the order of the jobs.
    """
    if not traced(key):
        return _draw_now(jobs, key)
    results: dict[int, jax.Array] = {}
    for dtype in sorted({job.noise_dtype for job in jobs}, key=str):
        chosen = [index for index, job in enumerate(jobs) if job.noise_dtype == dtype]
        results.update(zip(chosen, _draw_traced([jobs[i] for i in chosen], key), strict=True))
    return [results[index] for index in range(len(jobs))]


# --- the two halves that every way of drawing shares ---------------------------------------------


def _sample(kind: Kind, key: jax.Array, size: int, dtype: Any, limits: Any) -> jax.Array:
    edge = np.nextafter(np.ones((), dtype), np.zeros((), dtype))
    if kind == "normal":
        return lax.erf_inv(jax.random.uniform(key, (size,), dtype, -edge, 1))
    noise = jax.random.uniform(key, (size,), dtype)
    if kind == "uniform":
        return noise
    noise = noise * (limits[1] - limits[0]) + limits[0]
    if kind == "truncated":
        return lax.erf_inv(jnp.clip(noise, -edge, edge))
    from jax.scipy.special import ndtri  # rarely used, and not imported by jax itself

    return ndtri(jnp.maximum(noise, np.finfo(dtype).tiny))


def _finish(
    rows: Sequence[jax.Array], numbers: jax.Array, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> jax.Array:
    scale, shift, low, high = (numbers[index] for index in range(4))
    flat = rows[0] if len(rows) == 1 else jnp.concatenate([jnp.zeros(0, numbers.dtype), *rows])
    size = math.prod(shape)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        value = lax.complex(flat[:size] * scale + shift, flat[size : 2 * size] * scale)
    else:
        value = jnp.clip(flat[:size] * scale + shift, low, high)
    return value.reshape(shape).astype(dtype)


def _fold(key: jax.Array, words: jax.Array) -> jax.Array:
    """Fold words in by a loop: the keys of `keys.derive`, from a program a third smaller."""
    return lax.scan(lambda key, word: (jax.random.fold_in(key, word), None), key, words)[0]


# --- outside of every trace ----------------------------------------------------------------------


def _draw_now(jobs: Sequence[Job], key: jax.Array) -> list[jax.Array]:
    sizes = _tail_sizes(jobs, key, _MANY)
    results: dict[int, jax.Array] = {}
    ahead: collections.deque[tuple[int, list[jax.Array]]] = collections.deque()
    rows_ahead = 0
    # Equal shapes follow each other, so that each finish is compiled while chunks are being drawn.
    for index in sorted(range(len(jobs)), key=lambda i: (jobs[i].shape, jobs[i].dtype.name)):
        job = jobs[index]
        if job.needed > _LARGE * CHUNK and job.parts == 1:
            results[index] = _draw_large(job, key)
            continue
        rows = [
            _row(job, key, first // CHUNK, sizes.get(job.needed - first, CHUNK))
            for first in range(0, job.needed, CHUNK)
        ]
        ahead.append((index, rows))
        rows_ahead += len(rows)
        while rows_ahead > _AHEAD:
            rows_ahead -= _finish_first(jobs, ahead, results)
    while ahead:
        _finish_first(jobs, ahead, results)
    return [results[index] for index in range(len(jobs))]


def _finish_first(
    jobs: Sequence[Job],
    ahead: collections.deque[tuple[int, list[jax.Array]]],
    results: dict[int, jax.Array],
) -> int:
    """Finish the array whose chunks have waited longest; give their number."""
    index, rows = ahead.popleft()
    job = jobs[index]
    results[index] = _finish_program(job.shape, job.dtype)(rows, job.numbers())
    return len(rows)


def _row(job: Job, key: jax.Array, chunk: int, size: int) -> jax.Array:
    kind = job.recipe.kind
    limits = job.limits() if kind in ("truncated", "tail") else None
    words = np.append(job.words, np.uint32(chunk))
    return _row_program(kind, size, job.noise_dtype)(key, words, limits)


def _draw_large(job: Job, key: jax.Array) -> jax.Array:
    """Draw into the array itself, chunk by chunk: a second copy would not always fit."""
    program = _large_program(job.recipe.kind, job.shape, job.dtype)
    return program(key, job.words, job.limits(), job.numbers())


@functools.lru_cache(maxsize=64)
def _row_program(kind: Kind, size: int, dtype: np.dtype[Any]) -> Callable[..., jax.Array]:
    def funcparams_noise(key: jax.Array, words: jax.Array, limits: Any) -> jax.Array:
        return _sample(kind, _fold(key, words), size, dtype, limits)

    return jax.jit(funcparams_noise)


@functools.lru_cache(maxsize=4096)
def _finish_program(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Callable[..., jax.Array]:
    def funcparams_finish(rows: Sequence[jax.Array], numbers: jax.Array) -> jax.Array:
        return _finish(rows, numbers, shape, dtype)

    return jax.jit(funcparams_finish)


@functools.lru_cache(maxsize=256)
def _large_program(
    kind: Kind, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[..., jax.Array]:
    size = math.prod(shape)
    chunks, rest = -(-size // CHUNK), size % CHUNK
    by_row = size >= _INDEXED
    # XLA for CPU would convert the whole of a half-precision array in each round.
    carried = np.dtype(f"uint{8 * dtype.itemsize}") if dtype.itemsize < 4 else dtype

    def funcparams_large(
        key: jax.Array, words: jax.Array, limits: jax.Array, numbers: jax.Array
    ) -> jax.Array:
        def step(count: Any, values: jax.Array) -> jax.Array:
            chunk = chunks - 1 - count
            own = _fold(key, jnp.append(words, lax.convert_element_type(chunk, jnp.uint32)))
            noise = lax.optimization_barrier(_sample(kind, own, CHUNK, numbers.dtype, limits))
            if rest and not by_row:
                # The partial chunk comes first and ends where the array ends. What it has too many
                # lies before, where the next chunk puts its own.
                noise = jnp.where(chunk == chunks - 1, jnp.roll(noise, -rest), noise)
            part = _finish([noise], numbers, (CHUNK,), dtype)
            part = lax.bitcast_convert_type(part, carried)
            if by_row:
                return cast(jax.Array, lax.dynamic_update_index_in_dim(values, part, chunk, 0))
            return lax.dynamic_update_slice(
                values, part, (jnp.minimum(chunk * CHUNK, size - CHUNK),)
            )

        empty = jnp.zeros((chunks, CHUNK) if by_row else (size,), carried)
        filled = cast(jax.Array, lax.fori_loop(0, chunks, step, empty))
        values = cast(Any, lax.bitcast_convert_type(filled, dtype))
        return values.reshape(-1)[:size].reshape(shape)

    return jax.jit(funcparams_large)


# --- under somebody's trace ----------------------------------------------------------------------

_Group: TypeAlias = tuple[Kind, int, int]  # the noise's kind, the rows' size, which part of them


class _Piece(NamedTuple):
    """Consecutive rows of one group's stack, of which an array takes the first `take` numbers."""

    group: _Group
    start: int
    stop: int
    take: int


def _draw_traced(jobs: Sequence[Job], key: jax.Array) -> list[jax.Array]:
    """Draw the rows of all arrays in one loop for each kind and size, never by vmap.

    A loop compiles once for all its rows; vmap would draw other bits under rbg keys, and take
    several times the memory.
    """
    pieces, tables = _layout(jobs, _tail_sizes(jobs, key, 1))
    plan = tuple((job.shape, job.dtype, part) for job, part in zip(jobs, pieces, strict=True))
    numbers = np.stack([job.numbers() for job in jobs])
    return cast("list[jax.Array]", _traced_program(plan, key, numbers, tables))


def _layout(
    jobs: Sequence[Job], sizes: dict[int, int]
) -> tuple[list[tuple[_Piece, ...]], dict[_Group, tuple[Words, NDArray[Any]]]]:
    """Give every array its rows, and list each group's words and limits, row by row."""
    total = sum(-(-job.needed // CHUNK) for job in jobs)
    # A stack lives beside the arrays that are cut from it, so it should be a part of them only.
    most = max(_STACK, -(-total // 32))
    filled: collections.Counter[tuple[Kind, int]] = collections.Counter()
    rows: dict[_Group, list[tuple[Words, NDArray[Any]]]] = {}
    pieces: list[tuple[_Piece, ...]] = []
    for job in jobs:
        own: list[_Piece] = []
        for first in range(0, job.needed, CHUNK):
            left = job.needed - first
            kind, size = job.recipe.kind, sizes.get(left, CHUNK)
            part, index = divmod(filled[kind, size], most)
            filled[kind, size] += 1
            group = (kind, size, part)
            words = np.append(job.words, np.uint32(first // CHUNK))
            rows.setdefault(group, []).append((words, job.limits()))
            take = min(left, CHUNK)
            if own and own[-1].group == group:
                last = own.pop()
                own.append(_Piece(group, last.start, index + 1, last.take + take))
            else:
                own.append(_Piece(group, index, index + 1, take))
        pieces.append(tuple(own))
    tables = {
        group: (np.stack([words for words, _ in listed]), np.stack([pair for _, pair in listed]))
        for group, listed in rows.items()
    }
    return pieces, tables


@functools.partial(jax.jit, static_argnums=0)
def _traced_program(
    plan: tuple[tuple[tuple[int, ...], np.dtype[Any], tuple[_Piece, ...]], ...],
    key: jax.Array,
    numbers: jax.Array,
    tables: dict[_Group, tuple[jax.Array, jax.Array]],
) -> list[jax.Array]:
    # Behind a barrier they are no constants: XLA must not fold what is a run-time value elsewhere.
    # The key needs none, since words are folded into it; JAX would count it as used.
    numbers, tables = lax.optimization_barrier((numbers, tables))
    stacks: dict[_Group, jax.Array] = {}
    for group, table in tables.items():

        def row(entry: tuple[jax.Array, jax.Array], group: _Group = group) -> jax.Array:
            words, limits = entry
            return _sample(group[0], _fold(key, words), group[1], numbers.dtype, limits)

        stacks[group] = lax.optimization_barrier(lax.map(row, table))
    return [
        _finish(
            [stacks[p.group][p.start : p.stop].reshape(-1)[: p.take] for p in pieces],
            numbers[index],
            shape,
            dtype,
        )
        for index, (shape, dtype, pieces) in enumerate(plan)
    ]


def _tail_sizes(jobs: Sequence[Job], key: jax.Array, worth: int) -> dict[int, int]:
    """Choose, for each length of a last chunk, the size in which it is drawn.

    Where a shorter draw gives the first numbers of a longer one, a small array needs no whole
    chunk. A size is used from `worth` arrays on, since each needs a program. Elsewhere (rbg keys,
    or threefry with jax_threefry_partitionable off) every chunk is drawn whole.
    """
    partitionable = getattr(jax.config, "jax_threefry_partitionable", True)
    if jax.random.key_impl(key) != "threefry2x32" or not partitionable:
        return {}
    lengths = [job.needed % CHUNK for job in jobs]
    chosen: dict[int, int] = {}
    for size in _TAILS:
        fitting = [length for length in lengths if 0 < length <= size and length not in chosen]
        if len(fitting) >= worth:
            chosen.update(dict.fromkeys(fitting, size))
    return chosen
