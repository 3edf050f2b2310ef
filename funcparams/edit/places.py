"""Parametrizations put at parameters' places, and turned back into arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp

from funcparams.core import keys
from funcparams.core.check import describe, resolve
from funcparams.core.declarations import Param
from funcparams.core.definition import Definition
from funcparams.core.errors import (
    DefinitionTypeError,
    KeyRequiredError,
    MismatchError,
    SharingError,
)
from funcparams.core.names import Path, Tree, at, split
from funcparams.core.nodes import Parametrization, follow, map_refs
from funcparams.core.walk import item, map_owned, owned, skeleton
from funcparams.select.where import Scope, Where


@dataclasses.dataclass(frozen=True)
class Place:
    """A parameter's place, as `fp.parametrize` shows it to what makes the node.

    Args:
        name: The parameter's dotted name.
        value: Its array; where a parametrization stands, what that computes.
        held: What params hold there: the array, or the parametrization.
        module: The definition that declares it.
        own_key: A key for this place alone; None if none was given.

    Example:
        >>> import dataclasses, jax
        >>> import funcparams as fp
        >>> from funcparams import nn
        >>> seen = []
        >>> def look(place):
        ...     seen.append((place.name, place.value.shape, type(place.module).__name__))
        ...     return fp.parametrizations.weight_norm()(place)
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> _ = fp.parametrize(model, model.init(jax.random.key(0)), "**.weight", look)
        >>> seen
        [('0.weight', (2, 3), 'Linear')]
    """

    name: str
    value: jax.Array
    held: Any
    module: Definition
    own_key: jax.Array | None = None

    @property
    def key(self) -> jax.Array:
        """A key for this place alone, derived from the given key and the name."""
        if self.own_key is None:
            raise KeyRequiredError(
                f"{self.name}: this parametrization draws random numbers, and no key was given.\n"
                "  Give one: fp.parametrize(model, params, where, make, key=jax.random.key(0))."
            )
        return self.own_key


def parametrize(
    model: Definition,
    params: Mapping[str, Any],
    where: Where,
    make: Callable[[Place], Parametrization],
    key: jax.Array | None = None,
) -> Tree:
    """Put parametrizations at parameters' places: nodes that compute the arrays.

    The definition is untouched, and every layer works with every node. Of a shared parameter the
    owner's place is meant; its other places follow it.

    Args:
        model: The definition.
        params: Its params.
        where: Which parameters.
        make: Makes the node for one place, for instance
            [`weight_norm()`][funcparams.parametrizations.weight_norm], or a function of your own,
            from a [`Place`][funcparams.parametrizations.Place] to an `fp.Parametrization`.
        key: A PRNG key, where `make` draws random numbers. Each place has a key of its own, derived
            from it and the parameter's name.

    Returns:
        The new tree.

    Raises:
        SelectionError: If nothing is meant.
        SharingError: If a shared parameter is meant by a name that is not its owner's.
        MismatchError: If params do not fit the definition, or a node computes another shape or
            dtype than the parameter has.
        DefinitionTypeError: If `make` gives anything but a parametrization.
        KeyRequiredError: If `make` draws and there is no key.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(3, 2)
        >>> params = model.init(jax.random.key(0))
        >>> params = fp.parametrize(model, params, "weight", fp.parametrizations.weight_norm())
        >>> list(fp.flatten(params))
        ['bias', 'weight.original0', 'weight.original1']

    References:
        [torch.nn.utils.parametrize.register_parametrization](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.register_parametrization.html)
    """
    if not callable(make):
        raise DefinitionTypeError(
            f"parametrize(make={make!r}): expected a function from an fp.parametrizations.Place to "
            "a parametrization, such as fp.parametrizations.weight_norm()."
        )
    if key is not None:
        keys.check_key(key)
    arrays = resolve(type(model).__name__, "params", skeleton(model, Param), params)
    declared = owned(model, Param)
    held = {name: at(params, split(name)) for name in declared}
    for name in _owners(model, where):
        own = None if key is None else keys.derive(key, keys.words(f"parametrize/{name}"))
        value = _array(name, arrays[id(declared[name])])
        place = Place(name, value, held[name], _declaring(model, split(name)), own)
        held[name] = _fitting(place, make(place), params)
    by_identity = {id(declared[name]): value for name, value in held.items()}
    return map_owned(skeleton(model, Param), lambda declaration: by_identity[id(declaration)])


def materialize(model: Definition, params: Mapping[str, Any], where: Where = "**") -> Tree:
    """Turn parametrizations back into the arrays that they compute.

    Args:
        model: The definition.
        params: Its params.
        where: Which parameters; all where nothing is said. Those that are arrays stay.

    Returns:
        The new tree.

    Raises:
        SelectionError: If `where` means nothing.
        MismatchError: If params do not fit the definition.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(3, 2)
        >>> params = model.init(jax.random.key(0))
        >>> pruned = fp.parametrize(
        ...     model, params, "weight", fp.parametrizations.l1_unstructured(0.5))
        >>> int((fp.materialize(model, pruned)["weight"] == 0).sum())
        3

    References:
        [torch.nn.utils.parametrize.remove_parametrizations](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parametrize.remove_parametrizations.html)
    """
    arrays = resolve(type(model).__name__, "params", skeleton(model, Param), params)
    declared = owned(model, Param)
    chosen: frozenset[str] = frozenset()
    if declared:
        chosen = frozenset(Scope.of_definition(model).select(where))
    result = {
        id(declaration): arrays[id(declaration)]
        if name in chosen and isinstance(at(params, split(name)), Parametrization)
        else at(params, split(name))
        for name, declaration in declared.items()
    }
    return map_owned(skeleton(model, Param), lambda declaration: result[id(declaration)])


def array_of(held: Any) -> Any:
    """Give the array that something in params is or computes."""
    return held.value() if isinstance(held, Parametrization) else held


def _owners(model: Definition, where: Where) -> list[str]:
    """Give the owners' names that a `where` means; by another of their names is an error."""
    meant = Scope.of_definition(model).meant(where)
    problems = [f"{alias} is shared with {name}" for name, alias in meant.items() if alias != name]
    if problems:
        raise SharingError(
            f"parametrize: {', '.join(problems)}, which holds the array.\n"
            "  Name the owner, and all places follow it; or separate them first: "
            "fp.untie(model, params, where)."
        )
    return list(meant)


def _array(name: str, value: Any) -> jax.Array:
    if isinstance(value, jax.ShapeDtypeStruct):
        raise MismatchError(
            f"parametrize: {name}: the tree holds shapes, not arrays. Give arrays, or ask\n"
            "  jax.eval_shape(lambda p: fp.parametrize(model, p, where, make), model.abstract())."
        )
    return jnp.asarray(value)


def _declaring(model: Definition, path: Path) -> Definition:
    """Give the module that declares a parameter; it may stand in a list of the module."""
    module, node = model, cast(Any, model)
    for component in path[:-1]:
        node = item(node, component)
        if isinstance(node, Definition):
            module = node
    return module


def _fitting(place: Place, node: Any, params: Mapping[str, Any]) -> Parametrization:
    """Check a new node: what it computes has the parameter's shape and dtype."""
    if not isinstance(node, Parametrization):
        raise DefinitionTypeError(
            f"parametrize: {place.name}: make gave {describe(node)}, and not a parametrization: a "
            "subclass of fp.Parametrization with a method value(self)."
        )

    def compute() -> Any:
        complete = map_refs(node, lambda ref: array_of(follow(params, split(place.name), ref)[1]))
        return array_of(complete)

    try:
        found: Any = jax.eval_shape(compute)
    except (AttributeError, TypeError, ValueError) as error:
        raise MismatchError(
            f"parametrize: {place.name}: {type(node).__name__}.value() fails: {error}"
        ) from error
    if getattr(found, "shape", None) != place.value.shape or found.dtype != place.value.dtype:
        raise MismatchError(
            f"parametrize: {place.name}: expected {describe(place.value)}, and "
            f"{type(node).__name__}.value() gives {describe(found)}."
        )
    return node
