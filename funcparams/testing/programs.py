"""What functions lower to: the operations of their programs, counted and compared."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax

# An operation begins a line, after the names of its results: `%0 = stablehlo.add`, `%1:2 = "...`.
_OPERATION = re.compile(
    r'^\s*(?:%[^=\n]*= )?"?(?P<kind>[a-z]\w*\.\w+|call)\b(?P<rest>.*)$', re.MULTILINE
)
# The short form of a reduction, and what runs outside of the program: `custom_call @lapack_sgesdd`.
_APPLIED = re.compile(r"\bapplies (\S+)")
_TARGET = re.compile(r'\s*@"?([\w.$]+)')
# They frame operations and are none.
_FRAMES = {"func.func", "func.return", "stablehlo.return", "sdy.mesh"}


def operation_counts(function: Any, *args: Any, **kwargs: Any) -> Counter[str]:
    """Count the operations of the program that a function lowers to.

    Two functions with equal counts are, for all that a library can add to a program, the same
    program: XLA gets the same work from both.

    Args:
        function: A function, jitted or not; or what its `lower` returned.
        *args: What to lower it with: arrays or `jax.ShapeDtypeStruct`s.
        **kwargs: The like.

    Returns:
        How often each operation of StableHLO stands in the program, called functions included.

    Example:
        >>> import jax.numpy as jnp
        >>> from funcparams.testing import operation_counts
        >>> dict(operation_counts(lambda x: jnp.sin(x) + jnp.sin(jnp.cos(x)), jnp.ones(3)))
        {'stablehlo.sine': 2, 'stablehlo.cosine': 1, 'stablehlo.add': 1}

    References:
        [StableHLO specification](https://openxla.org/stablehlo/spec)
    """
    lowered = function if hasattr(function, "as_text") else _lower(function, args, kwargs)
    counts: Counter[str] = Counter()
    for found in _OPERATION.finditer(lowered.as_text()):
        kind, rest = found["kind"], found["rest"]
        if kind in _FRAMES:
            continue
        if kind == "stablehlo.custom_call" and (target := _TARGET.match(rest)):
            kind = f"{kind} @{target[1]}"
        elif applied := _APPLIED.search(rest):
            kind = f"{kind} {applied[1]}"
        counts[kind] += 1
    return counts


def assert_same_program(
    f: Callable[..., Any], g: Callable[..., Any], *args: Any, **kwargs: Any
) -> None:
    """Assert that two functions lower to programs of the same operations.

    Args:
        f: A function, jitted or not.
        g: Another one, called in the same way.
        *args: What to lower both with: arrays or `jax.ShapeDtypeStruct`s.
        **kwargs: The like.

    Raises:
        AssertionError: If an operation stands more often in one of the programs; it names each.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> from funcparams.testing import assert_same_program
        >>> model, x = nn.Linear(3, 2), jnp.ones((4, 3))
        >>> params = model.init(jax.random.key(0))
        >>> def by_hand(params, x):
        ...     y = jax.lax.dot_general(x, params["weight"], (((1,), (1,)), ((), ())))
        ...     return y + params["bias"]
        >>> assert_same_program(model.apply, by_hand, params, x)
    """
    ours, theirs = operation_counts(f, *args, **kwargs), operation_counts(g, *args, **kwargs)
    if ours == theirs:
        return
    one, two = _name(f), _name(g)
    if one == two:
        one, two = f"{one} (the first)", f"{two} (the second)"
    lines = [
        f"  {kind}: {ours[kind]} in {one}, {theirs[kind]} in {two}"
        for kind in sorted(ours | theirs)
        if ours[kind] != theirs[kind]
    ]
    raise AssertionError(
        f"{one} and {two} lower to different programs:\n"
        + "\n".join(lines)
        + f"\n  in all: {ours.total()} operations in {one}, {theirs.total()} in {two}\n"
        "To see where: print(jax.jit(f).lower(*args).as_text()) for both."
    )


def _lower(function: Any, args: Any, kwargs: Any) -> Any:
    jitted = function if hasattr(function, "lower") else jax.jit(function)
    return jitted.lower(*args, **kwargs)


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", None) or repr(function))
