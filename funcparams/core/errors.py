"""The errors of the library: each names what is wrong, where, and how to mend it.

Every class derives from `FuncparamsError` and from the built-in exception that PyTorch or Python
raises in the same case, so `except TypeError` keeps working.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FuncparamsError(Exception):
    """Base class of every error that this library raises on purpose.

    Example:
        >>> import funcparams as fp
        >>> issubclass(fp.MismatchError, fp.FuncparamsError)
        True
    """

    def __str__(self) -> str:
        # KeyError would show the repr of its message, with every line break escaped.
        return "\n".join(str(argument) for argument in self.args)


class DefinitionTypeError(FuncparamsError, TypeError):
    """A value of a wrong type in a definition, or a definition used as something else."""


class DefinitionNameError(FuncparamsError, KeyError):
    """A name that cannot name a field, a parameter or a module."""


class SealedError(FuncparamsError, AttributeError):
    """An assignment to a finished definition, or to a bound view where no buffer is."""


class DeclarationUseError(FuncparamsError, ValueError):
    """A declaration was computed with: it says what a parameter is, and holds no numbers."""

    # No TypeError: jax.jit would put one of its own in its place, without the parameter's name.


class DeclarationAttributeError(DeclarationUseError, AttributeError):
    """An attribute of arrays was read from a declaration."""


class UnboundError(FuncparamsError, TypeError, AttributeError):
    """A definition was called, or asked for what only a bound view has."""


class BoundError(FuncparamsError, TypeError):
    """A bound view was used outside the one apply that it belongs to."""


class MismatchError(FuncparamsError, ValueError):
    """A tree does not fit the definition; the text has a line for each place that does not.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> try:
        ...     nn.Linear(2, 3).apply({}, jax.numpy.ones(2))
        ... except fp.MismatchError as error:
        ...     print(str(error).splitlines()[0])
        params do not fit Linear: 2 problems
    """


class StateUpdateError(FuncparamsError, ValueError):
    """A buffer's update that would be lost, would leak out of a transform, or does not fit."""


class KeyRequiredError(FuncparamsError, ValueError):
    """Random numbers asked for without a key, or inside a transform begun after bind."""


class KeyArgumentError(FuncparamsError, TypeError):
    """What was given as a key is not one PRNG key."""


class InitializerError(FuncparamsError, ValueError):
    """An initializer returned another shape or dtype than the declaration asks for."""


class SelectionError(FuncparamsError, KeyError):
    """A rule or a name that selects nothing."""


class SharingError(FuncparamsError, ValueError):
    """Tied parameters cannot be tied, untied or followed as asked."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return `"; did you mean 'a.b'?"` for the closest candidate, or an empty string."""
    matches = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
