"""Equality and hash of definitions: by value, with the sharing structure as part of it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, cast

from funcparams.core.declarations import Declaration
from funcparams.core.definition import Definition, FrozenDict, sealed


def fingerprint(module: Definition) -> tuple[Any, ...]:
    """Give the tuple that two definitions have in common if and only if they are equal.

    One walk over the sealed fields; a second visit of the same module or declaration becomes
    ("same", index), so equal definitions also share alike. Made once, then kept.
    """
    cache = sealed(module).cache
    if "fingerprint" not in cache:
        tokens: list[Any] = []
        _write(module, tokens, {})
        cache["fingerprint"] = tuple(tokens)
        cache["hash"] = hash(cache["fingerprint"])
    return cache["fingerprint"]


def hash_of(module: Definition) -> int:
    """Give the hash of a definition's fingerprint."""
    fingerprint(module)
    return sealed(module).cache["hash"]


def equal(one: Definition, other: Definition) -> bool:
    """Tell whether two definitions are equal."""
    mine, theirs = fingerprint(one), fingerprint(other)
    same = mine is theirs or (hash_of(one) == hash_of(other) and mine == theirs)
    if same:  # kept as one object, since jax.jit compares an equal definition at every call
        sealed(other).cache["fingerprint"] = mine
    return same


def _write(value: Any, tokens: list[Any], seen: dict[int, int]) -> None:
    """Append a value's tokens. Every token sequence says its own length, so none runs together."""
    if type(value) in (str, int, bool):
        return tokens.append((type(value), value))
    if isinstance(value, (Definition, Declaration)):  # a union takes longer to make than to ask
        if id(value) in seen:
            return tokens.append(("same", seen[id(value)]))
        seen[id(value)] = len(seen)
    if isinstance(value, Definition):
        fields = sealed(value).fields
        tokens.append((type(value), len(fields)))
        for name, field in fields.items():
            tokens.append(name)
            _write(field, tokens, seen)
    elif isinstance(value, Declaration):
        tokens.append(value.traits())
        _write(value.init, tokens, seen)
    elif isinstance(value, tuple):
        items = cast("tuple[Any, ...]", value)
        tokens.append((type(items), len(items)))
        for item in items:
            _write(item, tokens, seen)
    elif isinstance(value, FrozenDict):
        pairs = cast("FrozenDict[Any]", value)
        tokens.append((FrozenDict, len(pairs)))
        for key, item in pairs.items():
            tokens.append((type(key), key))
            _write(item, tokens, seen)
    elif isinstance(value, functools.partial):
        bound = cast("functools.partial[Any]", value)
        tokens.append((type(bound), 3))
        for part in (bound.func, bound.args, FrozenDict(bound.keywords)):
            _write(part, tokens, seen)
    elif (compared := _compared(cast(Any, type(value)))) is not None:
        tokens.append((type(value), len(compared)))
        for name in compared:
            _write(getattr(value, name), tokens, seen)
    else:
        tokens.append(_typed(value))


@functools.lru_cache(maxsize=1024)
def _compared(cls: Any) -> tuple[str, ...] | None:
    """Give the fields by which a dataclass is compared: they may be 1, True and 1.0."""
    parameters = getattr(cls, "__dataclass_params__", None)
    if parameters is None or not parameters.eq:
        return None
    return tuple(f.name for f in dataclasses.fields(cls) if f.compare and f.hash is not False)


def _typed(value: Any) -> Any:
    """Tell apart what Python calls equal: 1, True and 1.0; 0.0 and -0.0; and let nan equal nan."""
    if isinstance(value, float):
        return (type(value), float(value).hex())
    if isinstance(value, complex):
        return (type(value), value.real.hex(), value.imag.hex())
    if isinstance(value, frozenset):
        return (frozenset, frozenset(_typed(item) for item in cast("frozenset[Any]", value)))
    return (type(value), value)
