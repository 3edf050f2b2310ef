"""`Sequential`, a chain of layers, and `Function`, a plain function as a layer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast, overload

from funcparams.core.definition import Bound, Definition, record
from funcparams.core.errors import DefinitionTypeError
from funcparams.module import Module

Layer: TypeAlias = Module | Callable[[Any], Any]


class Function(Module):
    """A plain function of one argument as a layer, without parameters.

    `Sequential` makes one of every function that it is given.

    Args:
        function: The function, best a named one: definitions are compared by it, and two lambdas
            are never equal. `functools.partial` is compared by its parts.

    Raises:
        DefinitionTypeError: If it cannot be called.

    Example:
        >>> import functools, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> layer = nn.Function(functools.partial(jnp.clip, max=1.0))
        >>> layer
        Function(clip, max=1.0)
        >>> layer.apply({}, jnp.array([-2.0, 2.0])).tolist()
        [-2.0, 1.0]
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        given: Any = function
        if isinstance(given, type) or not callable(given):
            hint = f": write {given.__name__}()" if isinstance(given, type) else ""
            raise DefinitionTypeError(
                f"Function({function!r}): expected a function of one argument{hint}."
            )
        self.function = function

    def __call__(self, x: Any) -> Any:
        """Call the function."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Write the function's name, and what a partial holds."""
        return _function_text(self.function)


class Sequential(Module):
    """Call layers one after the other, each on what the last one returned.

    Args:
        *layers: Modules and plain functions; each takes the number at which it stands for its
            name. Or one mapping of names to them.

    It is a sequence: `net[0]`, `net[-1]`, `len(net)` and iteration give the layers, and `net[1:3]`
    a Sequential in which they keep their names, on definitions as on bound views. A `functools.
    partial` or any other callable stands as a [`Function`][funcparams.nn.Function].

    Called with x, it returns what its last layer does; without layers, x.

    Raises:
        DefinitionTypeError: For a layer that cannot be called.
        DefinitionNameError: For a name in the mapping that no parameter can have.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> net = nn.Sequential(nn.Linear(4, 3), jax.nn.relu, nn.Linear(3, 1))
        >>> net
        Sequential(
          (0): Linear(in_features=4, out_features=3, bias=True)
          (1): Function(relu)
          (2): Linear(in_features=3, out_features=1, bias=True)
        )
        >>> [name for name, _ in net.named_parameters()]
        ['0.weight', '0.bias', '2.weight', '2.bias']
        >>> net.apply(net.init(jax.random.key(0)), jnp.ones((2, 4))).shape
        (2, 1)
        >>> len(net), net[-1]
        (3, Linear(in_features=3, out_features=1, bias=True))

    References:
        [torch.nn.Sequential](https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html)
    """

    @overload
    def __init__(self, layers: Mapping[str, Layer], /) -> None: ...

    @overload
    def __init__(self, *layers: Layer) -> None: ...

    def __init__(self, *layers: Any) -> None:
        named = {str(index): layer for index, layer in enumerate(layers)}
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            named = cast("dict[str, Any]", layers[0])
        for name, layer in named.items():
            setattr(self, name, _settled(name, layer))

    def __call__(self, x: Any) -> Any:
        """Call the layers in order."""
        for layer in self:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._layers().values())

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Any:
        named = list(self._layers().items())
        if isinstance(index, slice):
            return self._part(dict(named[index]))
        try:
            return named[index][1]
        except IndexError:
            raise IndexError(
                f"Sequential index {index} is out of range: it has {len(named)} layers."
            ) from None

    def _layers(self) -> dict[str, Module]:
        """Return the layers in order: the fields that are modules, as PyTorch has it."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Module)}

    def _part(self, layers: dict[str, Module]) -> Sequential:
        """Return a Sequential of some of the layers, under the names that they have."""
        known = record(self)
        if not isinstance(known, Bound):
            return Sequential(layers)
        # On a bound view the part is one too: of the same arrays, keys and buffers.
        fields = vars(known.definition)
        part = object.__new__(Sequential)
        vars(part).update(layers)
        definition: Definition = Sequential({name: fields[name] for name in layers})
        object.__setattr__(part, "_record", Bound(definition, known.path, known.context))
        return part


def _settled(name: Any, layer: Any) -> Module:
    if not isinstance(name, str):
        raise DefinitionTypeError(
            f"Sequential: the name {name!r} is a {type(name).__name__}; names are strings."
        )
    if isinstance(layer, Module):
        return layer
    if isinstance(layer, type) or not callable(layer):
        hint = f": write {layer.__name__}(...)" if isinstance(layer, type) else ""
        if isinstance(layer, list | tuple):
            hint = ": write Sequential(*layers)"
        raise DefinitionTypeError(
            f"Sequential: layer {name!r} is {layer!r}; expected a module or a function{hint}."
        )
    return Function(layer)


def _function_text(function: Any) -> str:
    if isinstance(function, functools.partial):
        held = cast("functools.partial[Any]", function)
        given = [repr(argument) for argument in held.args]
        given += [f"{name}={value!r}" for name, value in held.keywords.items()]
        return ", ".join([_function_text(held.func), *given])
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else repr(inspect.unwrap(function))
