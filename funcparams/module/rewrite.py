"""Edits of definitions: every edit makes a new definition and keeps what was shared shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

import jax.numpy as jnp

from funcparams.core.declarations import Buffer, Declaration, Param
from funcparams.core.definition import Definition, FrozenDict, has_members, sealed
from funcparams.core.errors import DefinitionNameError, DefinitionTypeError, nearest
from funcparams.core.registration import assign, seal
from funcparams.core.walk import find, owned, place_names
from funcparams.select.where import Names, Scope, Where, floating

M = TypeVar("M", bound=Definition)


@dataclasses.dataclass
class Edits:
    """What to change: whole objects wherever they stand, and single fields of single modules."""

    objects: dict[int, Any] = dataclasses.field(default_factory=dict[int, Any])
    fields: dict[int, dict[str, Any]] = dataclasses.field(
        default_factory=dict[int, "dict[str, Any]"]
    )


def rewrite(root: M, edits: Edits) -> M:
    """Make a definition with edits applied; an unchanged part stays the same object."""
    return cast(M, _rewritten(root, edits, dict(edits.objects)))


def _rewritten(value: Any, edits: Edits, done: dict[int, Any]) -> Any:
    """Rewrite a value; `done` gives one result to every visit of one object."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, tuple) and has_members(value):
        return tuple(_rewritten(item, edits, done) for item in cast("tuple[Any, ...]", value))
    if isinstance(value, FrozenDict) and has_members(value):
        pairs = cast("FrozenDict[Any]", value)
        return FrozenDict({key: _rewritten(item, edits, done) for key, item in pairs.items()})
    if isinstance(value, Definition):
        before = sealed(value).fields
        own = edits.fields.get(id(value), {})
        after = {k: own[k] if k in own else _rewritten(v, edits, done) for k, v in before.items()}
        changed = any(_moved(before[name], after[name]) for name in before)
        done[id(value)] = rebuild(value, after) if changed else value
        return done[id(value)]
    return cast(Any, value)


def _moved(before: Any, after: Any) -> bool:
    """Tell whether a field holds another object: equal definitions are not the same one."""
    if isinstance(before, tuple) and isinstance(after, tuple):
        old, new = cast("tuple[Any, ...]", before), cast("tuple[Any, ...]", after)
        return len(old) != len(new) or any(_moved(*pair) for pair in zip(old, new, strict=True))
    if isinstance(before, FrozenDict) and isinstance(after, FrozenDict):
        return list(before) != list(after) or _moved(  # pyright: ignore[reportUnknownArgumentType]
            tuple(cast("FrozenDict[Any]", before).values()),
            tuple(cast("FrozenDict[Any]", after).values()),
        )
    return before is not after


def rebuild(module: Definition, fields: dict[str, Any]) -> Definition:
    """Make a definition of the same class with some fields changed; `__init__` does not run."""
    new = object.__new__(type(module))
    vars(new).update(sealed(module).fields)
    for name, value in fields.items():
        assign(new, name, value)
    seal(new)
    return new


def replaced(root: M, changes: Mapping[str, Any]) -> M:
    """Make a definition with other things at dotted names, see `Module.replace`."""
    edits = Edits()
    first: dict[Any, str] = {}  # the name under which each thing is changed
    for name, value in changes.items():
        try:
            old = find(root, name)
        except KeyError:
            raise DefinitionNameError(
                f"{type(root).__name__} has nothing named {name!r}"
                f"{nearest(name, place_names(root))}\n"
                "  replace changes what is there; a new field is assigned in __init__."
            ) from None
        if isinstance(old, Declaration | Definition) and (
            value is None or isinstance(value, Declaration | Definition)
        ):
            if isinstance(old, Definition) != isinstance(value, Definition) and value is not None:
                raise DefinitionTypeError(
                    f"{name} is {_kind(old)} and cannot become {_kind(value)}."
                )
            if edits.objects.setdefault(id(old), value) is not value:
                raise DefinitionNameError(
                    f"{first[id(old)]} and {name} are one shared thing, and cannot become two: "
                    f"fp.untie(model, params, {name!r}) first."
                )
            first.setdefault(id(old), name)
            continue
        holder_name, _, field = name.rpartition(".")
        holder = find(root, holder_name) if holder_name else root
        if not isinstance(holder, Definition):
            raise DefinitionTypeError(
                f"{name} stands in a container; replace the whole field {holder_name!r}."
            )
        edits.fields.setdefault(id(holder), {})[field] = value
    for name in changes:
        _refuse_lost(root, name, changes, first)
    return rewrite(root, edits)


def _refuse_lost(
    root: Definition, name: str, changes: Mapping[str, Any], first: Mapping[int, str]
) -> None:
    """Refuse a change of a part of what another change replaces as a whole."""
    whole = name.rpartition(".")[0]
    while whole:
        cause = whole if whole in changes else first.get(id(find(root, whole)))
        if cause is not None:
            raise DefinitionNameError(
                f"{cause} and {name}: the second would be lost, since the first replaces the "
                "whole.\n  Call replace twice, the whole first."
            )
        whole = whole.rpartition(".")[0]


def _kind(value: Any) -> str:
    return f"the module {type(value).__name__}" if isinstance(value, Definition) else repr(value)


def with_init(root: M, rules: Mapping[Any, Any]) -> M:
    """Make a definition with other initializers, see `Module.with_init`."""
    declarations = owned(root, Param)
    edits = Edits()
    for name, initializer in Scope.of_definition(root).assign(rules).items():
        if isinstance(initializer, type) or not callable(initializer):
            raise DefinitionTypeError(
                f"with_init gives {name} the initializer {initializer!r}: expected a function "
                "(key, shape, dtype) -> Array, such as init.normal(std=0.02)."
            )
        edits.objects[id(declarations[name])] = declarations[name].copy(init=initializer)
    return rewrite(root, edits)


def astype(root: M, dtype: Any, where: Where | None) -> M:
    """Make a definition whose floating declarations have another dtype, see `Module.astype`."""
    wanted = floating(dtype)
    names = Scope.of_definition(root).select(where) if where is not None else None
    found: dict[str, Any] = owned(root, Param)
    if names is not None:
        found = {name: found[name] for name in names}
    else:
        found |= {f"buffer {name}": value for name, value in owned(root, Buffer).items()}
    edits = Edits()
    for declaration in found.values():
        if jnp.issubdtype(declaration.dtype, jnp.floating):
            edits.objects[id(declaration)] = declaration.copy(dtype=wanted)
    return rewrite(root, edits)


def copied(module: M, memo: dict[int, Any] | None = None) -> M:
    """Make a copy that shares nothing with the original; ties inside it stay."""
    fresh: dict[int, Any] = {} if memo is None else memo

    def visit(value: Any) -> Any:
        if not has_members(value):
            return value  # a hyperparameter stays the same object
        if id(value) not in fresh:
            fresh[id(value)] = make(value)
        return fresh[id(value)]

    def make(value: Any) -> Any:
        if isinstance(value, Declaration):
            return value.copy()
        if isinstance(value, Definition):
            new = object.__new__(type(value))
            vars(new).update({k: visit(v) for k, v in sealed(value).fields.items()})
            seal(new)
            return new
        if isinstance(value, tuple):
            return tuple(visit(item) for item in cast("tuple[Any, ...]", value))
        return FrozenDict({k: visit(v) for k, v in cast("FrozenDict[Any]", value).items()})

    return visit(module)


class Editable(Definition):
    """The methods of `Module` that select and change."""

    __slots__ = ()

    def names(self, where: Where = "**") -> Names:
        """Give the names of the parameters that a `where` means; a `where` of its own.

        Args:
            where: A glob on dotted names (`*` within a component, `**` across), a compiled regex, a
                Module subclass, a predicate `(name, declaration) -> bool`, or a tuple of these.

        Returns:
            The owners' names in order. A shared parameter is meant if any of its names is.

        Raises:
            SelectionError: If nothing is meant.

        Example:
            >>> from funcparams import nn
            >>> model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
            >>> model.names(nn.Linear)
            Names('0.weight', '0.bias', '2.weight', '2.bias')
        """
        return Scope.of_definition(self).select(where)

    def replace(self, changes: Mapping[str, Any] | None = None, /, **fields: Any) -> Self:
        """Make a definition with other things at some names; what was shared stays shared.

        A shared module or declaration is replaced at all its places. `__init__` does not run again.

        Args:
            changes: New things by dotted name.
            **fields: New things by field name.

        Returns:
            The changed definition.

        Raises:
            DefinitionNameError: If nothing has such a name.
            DefinitionTypeError: If a thing of another kind stands there.

        Example:
            >>> from funcparams import nn
            >>> embedding = nn.Embedding(10, 4)
            >>> head = nn.Linear(4, 10, bias=False).replace(weight=embedding.weight)
            >>> nn.Sequential(embedding, head).abstract()["1"]
            {'weight': Ref('..0.weight')}
        """
        return replaced(self, {**(changes or {}), **fields})

    def with_init(self, rules: Mapping[Any, Any]) -> Self:
        """Make a definition with other initializers: PyTorch's `net.apply(init_fn)`, as data.

        Args:
            rules: Initializers by `where`; the first rule that means a parameter wins.

        Returns:
            The changed definition; parameters that no rule means keep their initializers.

        Raises:
            SelectionError: If a rule means nothing.

        Example:
            >>> from funcparams import init, nn
            >>> net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
            >>> net = net.with_init({"**.bias": init.zeros(), nn.Linear: init.normal(std=0.01)})
            >>> net[0].weight.init
            normal(mean=0.0, std=0.01)

        References:
            [torch.nn.Module.apply](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.apply)
        """
        return with_init(self, rules)

    def astype(self, dtype: Any, where: Where | None = None) -> Self:
        """Make a definition of another floating dtype; integer buffers stay as they are.

        Args:
            dtype: The floating dtype of the result.
            where: Which parameters; all parameters and buffers where nothing is said.

        Returns:
            The changed definition.

        Raises:
            DefinitionTypeError: If the dtype is not floating.

        Example:
            >>> import jax.numpy as jnp
            >>> from funcparams import nn
            >>> nn.Linear(2, 1).astype(jnp.bfloat16).abstract()["bias"].dtype
            dtype(bfloat16)
        """
        return astype(self, dtype, where)
