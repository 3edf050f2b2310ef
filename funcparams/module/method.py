"""How `Module`'s constructors seal, and how its methods are callables that `jax.jit` can keep."""

from __future__ import annotations

import functools
import inspect
from abc import ABCMeta
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import jax

from funcparams.core.definition import Bound, Definition, record
from funcparams.core.errors import BoundError
from funcparams.core.registration import seal
from funcparams.module.call import call_in_scope

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class HasCall(Protocol[P, R_co]):
    """Anything with a `__call__`: lets `apply` have the type of the model's own call."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Compute."""
        ...


if TYPE_CHECKING:
    # Type checkers would take a metaclass's __call__ for every constructor's signature, and need
    # not know that a kept method is anything but a method.
    ModuleMeta = ABCMeta

    def kept(function: Callable[P, R]) -> Callable[P, R]:
        """Keep one callable a definition."""
        ...

else:

    class ModuleMeta(ABCMeta):
        """Seals an instance when its outermost `__init__` has returned."""

        def __call__(cls, *args, **kwargs):
            """Construct an instance, and seal it."""
            module = super().__call__(*args, **kwargs)
            if isinstance(module, Definition) and record(module) is None:
                seal(module)
            return module

    class kept:
        """A method that is one callable a definition, and equal for equal definitions.

        A bound method is a new object at every access, and `jax.jit` keeps its traces by the
        function it is given: `jax.jit(model.apply)(params, x)` in a loop would trace every time.
        """

        def __init__(self, function):
            self.function = function
            functools.update_wrapper(self, function)

        def __get__(self, module, owner=None):
            if module is None:
                return self.function
            name = self.function.__name__
            known = record(module)
            if known is None or isinstance(known, Bound):
                state = "under construction" if known is None else "a bound view"
                raise BoundError(
                    f"{name} belongs to the finished definition, and {type(module).__name__} is "
                    f"{state} here.\n  Inside apply, call the view itself, self.child(x); "
                    f"call {name} on the definition, outside."
                )
            if name not in known.cache:
                known.cache[name] = Kept(self.function, module)
            return known.cache[name]


class Kept:
    """A function with a definition as its first argument, compared by the definition's value."""

    def __init__(self, function: Callable[..., Any], module: Definition) -> None:
        functools.update_wrapper(self, function)
        self.function, self.module = function, module
        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1:]
        self.__signature__ = signature.replace(parameters=parameters)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with the definition first."""
        return self.function(self.module, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept):
            return NotImplemented
        return self.function is other.function and self.module == other.module

    def __hash__(self) -> int:
        return hash((self.function, self.module))

    def __repr__(self) -> str:
        return f"<{type(self.module).__name__}.{self.__name__}>"  # pyright: ignore


def scoped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a class's `__call__`: guards definitions, names the program's parts, notes errors."""

    @functools.wraps(function)
    def wrapper(self: Definition, *args: Any, **kwargs: Any) -> Any:
        if type(self).__call__ is not wrapper:  # pyright: ignore  # reached by super()
            return function(self, *args, **kwargs)
        return call_in_scope(function, self, args, kwargs)

    return wrapper


def register(cls: type[Definition]) -> None:
    """Register a class of definitions as static, leafless pytree nodes."""
    jax.tree_util.register_pytree_node(cls, _flatten, _unflatten)


def _flatten(module: Definition) -> tuple[tuple[()], Definition]:
    known = record(module)
    if known is None or isinstance(known, Bound):
        raise BoundError(
            f"{type(module).__name__}: a bound module cannot pass through a jax transform; pass "
            "params.\n"
            "  Bind inside the transformed function: jax.jit(lambda params, x: "
            "model.apply(params, x)).\n"
            "  For a part of a model inside its __call__: fp.remat(child)(x), or "
            "f, params, state = fp.pure(child)."
        )
    return (), module


def _unflatten(module: Definition, _: Any) -> Definition:
    return module
