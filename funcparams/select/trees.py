"""Selecting parameters by name, and what is built on it: masks, labels, partitions, updates, casts.

Everything here takes a tree of params (or any tree of the same form: gradients, state, an average)
and gives a new one; references stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal
from typing import cast as as_type

import jax
import jax.numpy as jnp

from funcparams.core.check import describe, resolve
from funcparams.core.declarations import Buffer, Param
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, MismatchError, nearest
from funcparams.core.names import Path, Tree, dotted, leaves, natural, place, split
from funcparams.core.nodes import Parametrization, Ref
from funcparams.core.walk import map_owned, owned, skeleton
from funcparams.select.where import Names, Scope, Where, floating


def mask(params: Mapping[str, Any], where: Where) -> Tree:
    """Make a tree of bools that is True where `where` says: for `optax.masked`, `adamw(mask=)`.

    Args:
        params: A tree of params.
        where: Which parameters: a glob, a compiled regex, a predicate `(name, array) -> bool`,
            `model.names(...)`, or a tuple of these.

    Returns:
        A tree of the same structure.

    Raises:
        SelectionError: If nothing is meant.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> params = nn.Linear(2, 1).init(jax.random.key(0))
        >>> fp.mask(params, "weight") == {"bias": False, "weight": True}
        True
    """
    chosen = frozenset(_scope(params).select(where))
    return _map(params, lambda name, value: _fill(value, name in chosen))


def label(params: Mapping[str, Any], rules: Mapping[Any, Any], default: Any = None) -> Tree:
    """Make a tree of labels, for `optax.multi_transform` and the like.

    Args:
        params: A tree of params.
        rules: Labels by `where`; the first rule that means a parameter wins.
        default: The label of what no rule means; without one, every parameter must be meant.

    Returns:
        A tree of the same structure.

    Raises:
        SelectionError: If a rule means nothing.
        MismatchError: If no rule means some parameter and there is no default.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> params = nn.Linear(2, 1).init(jax.random.key(0))
        >>> fp.label(params, {"bias": "slow"}, default="fast") == {"bias": "slow", "weight": "fast"}
        True
    """
    scope = _scope(params)
    labels = scope.assign(rules)
    missing = [name for name in scope.values if name not in labels]
    if missing and default is None:
        raise MismatchError(
            f'label: no rule means {", ".join(missing)}.\n  Give default=..., or a last rule "**".'
        )
    return _map(params, lambda name, value: _fill(value, labels.get(name, default)))


def partition(params: Mapping[str, Any], where: Where) -> tuple[Tree, Tree]:
    """Split a tree into two of one structure: what is meant, and the rest; None in the holes.

    Args:
        params: A tree of params.
        where: Which parameters, as for `mask`.

    Returns:
        (meant, rest). `jax.grad` with respect to the first alone freezes the second.

    Raises:
        SelectionError: If nothing is meant.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> tuned, frozen = fp.partition(model.init(jax.random.key(0)), "1.*")
        >>> def loss(tuned, x):
        ...     return model.apply(fp.combine(tuned, frozen), x).sum()
        >>> jax.tree.map(jnp.shape, jax.grad(loss)(tuned, jnp.ones((3, 2))))
        {'0': {'bias': None, 'weight': None}, '1': {'bias': (1,), 'weight': (1, 2)}}
    """
    chosen = frozenset(_scope(params).select(where))
    meant = _map(params, lambda name, value: value if name in chosen else None)
    rest = _map(params, lambda name, value: None if name in chosen else value)
    return meant, rest


def combine(*trees: Mapping[str, Any]) -> Tree:
    """Put the trees of `partition` back together.

    Args:
        *trees: Trees of one structure; every place is filled in exactly one of them.

    Returns:
        The whole tree.

    Raises:
        MismatchError: If names differ, or a place is filled in none or in several.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> params = nn.Linear(2, 1).init(jax.random.key(0))
        >>> fp.combine(*fp.partition(params, "bias"))["bias"] is params["bias"]
        True
    """
    flat = [dict(leaves(tree)) for tree in trees]
    whole: Tree = {}
    problems: list[str] = []
    for path in dict.fromkeys(path for tree in flat for path in tree):
        found = [tree[path] for tree in flat if tree.get(path) is not None]
        absent = [str(index) for index, tree in enumerate(flat) if path not in tree]
        if absent:
            problems.append(f"{dotted(path)}: absent in tree {', '.join(absent)}")
        elif not found:
            problems.append(f"{dotted(path)}: a hole in every tree")
        elif len(found) > 1 and not all(isinstance(v, Ref) and v == found[0] for v in found):
            problems.append(f"{dotted(path)}: filled in {len(found)} trees")
        else:
            place(whole, path, found[0])
    if problems:
        raise MismatchError(
            "combine: the trees do not complete each other\n  "
            + "\n  ".join(problems)
            + "\nTo mend: give the trees that one fp.partition returned."
        )
    return whole


def update(params: Mapping[str, Any], changes: Mapping[Any, Any]) -> Tree:
    """Make a tree with other values at some names; a reference means what it refers to.

    Args:
        params: A tree of params.
        changes: For each name or `where`, an array of the same shape, a number that fills the
            parameter, or a function of the old array. The first rule that means a parameter wins.

    Returns:
        The new tree, of the same dtypes; the old one is untouched.

    Raises:
        SelectionError: If a rule means nothing.
        MismatchError: If a new value has another shape, or a dtype that does not fit.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> params = nn.Linear(2, 3).init(jax.random.key(0))
        >>> params = fp.update(params, {"bias": 0.0, "weight": lambda w: 2 * w})
        >>> params["bias"].tolist()
        [0.0, 0.0, 0.0]
    """
    chosen = _scope(params).assign(changes)
    problems: list[str] = []

    def change(name: str, old: Any) -> Any:
        return _changed(name, old, chosen[name], problems) if name in chosen else old

    result = _map(params, change)
    if problems:
        raise MismatchError("update: values do not fit\n  " + "\n  ".join(problems))
    return result


def _changed(name: str, old: Any, new: Any, problems: list[str]) -> Any:
    if isinstance(old, Parametrization):
        problems.append(
            f"{name}: holds a {type(old).__name__}, which computes its array; change its fields"
        )
        return old
    if callable(new):
        new = new(old)
    if isinstance(new, bool | int | float | complex):
        new = jnp.full(old.shape, new, None if isinstance(new, complex) else old.dtype)
    shape = getattr(new, "shape", None)
    if shape != old.shape:
        problems.append(f"{name}: expected {describe(old)}, got {describe(new)}")
    elif not jnp.can_cast(new.dtype, old.dtype, casting="same_kind"):
        problems.append(f"{name}: expected {describe(old)}, got {describe(new)}; cast it first")
    else:
        return jnp.asarray(new, dtype=old.dtype)
    return old


def cast(params: Mapping[str, Any], dtype: Any, where: Where | None = None) -> Tree:
    """Give floating arrays another floating dtype; integers, keys and references stay.

    Args:
        params: A tree of params or state, of arrays or `jax.ShapeDtypeStruct`s.
        dtype: The floating dtype of the result.
        where: Which of them; all where nothing is said.

    Returns:
        The new tree.

    Raises:
        DefinitionTypeError: If `dtype` is not floating, as PyTorch's `to(torch.int32)` is refused.
        SelectionError: If `where` means nothing.

    Example:
        >>> import funcparams as fp, jax, jax.numpy as jnp
        >>> from funcparams import nn
        >>> params = fp.cast(nn.Linear(2, 3).init(jax.random.key(0)), jnp.bfloat16)
        >>> params["weight"].dtype
        dtype(bfloat16)

    References:
        [torch.nn.Module.to](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.to)
    """
    wanted = floating(dtype)
    scope = _scope(params)
    chosen = frozenset(scope.values if where is None else scope.select(where))

    def convert(value: Any) -> Any:
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        if isinstance(value, jax.ShapeDtypeStruct):
            return value.update(dtype=wanted)
        return value.astype(wanted)

    return _map(
        params, lambda name, value: jax.tree.map(convert, value) if name in chosen else value
    )


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Give a plain dict of arrays by dotted names, for any tool; references are left out.

    Args:
        params: A tree of params or state.

    Returns:
        The arrays, each once, in natural order: `layers.2` before `layers.10`.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> list(fp.flatten(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)).init(jax.random.key(0))))
        ['1.bias', '1.weight']
    """
    flat: dict[Path, Any] = {}
    for path, value in leaves(params):
        if isinstance(value, Parametrization):
            fields = as_type(
                "list[tuple[Any, Any]]", jax.tree_util.tree_flatten_with_path(value)[0]
            )
            for keys, field in fields:
                extension = jax.tree_util.keystr(keys, simple=True, separator=".")
                flat[(*path, *split(extension))] = field
        elif not isinstance(value, Ref | None):
            flat[path] = value
    return {dotted(path): flat[path] for path in sorted(flat, key=natural)}


def unflatten(
    model: Definition, flat: Mapping[str, Any], kind: Literal["params", "state"] = "params"
) -> Tree:
    """Make the tree of a definition from a flat dict; references are put back.

    Args:
        model: The definition.
        flat: Arrays by dotted names, one for each owner.
        kind: Whether these are the model's params or its state.

    Returns:
        The nested tree.

    Raises:
        MismatchError: If names are missing or unexpected, or shapes differ; all in one report.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> layer = nn.Linear(2, 2)
        >>> model = nn.Sequential(layer, nn.ReLU(), layer)
        >>> params = model.init(jax.random.key(0))
        >>> fp.unflatten(model, fp.flatten(params))["2"]
        Ref('.0')
    """
    which = Param if kind == "params" else Buffer
    known = owned(model, which)
    tree: Tree = {}
    unexpected: list[str] = []
    for name, value in flat.items():
        if name in known:
            place(tree, split(name), value)
        else:
            unexpected.append(f"  {name}: unexpected {describe(value)}{nearest(name, known)}")
    if unexpected:
        raise MismatchError(
            f"unflatten: {type(model).__name__} has no such {kind}\n"
            + "\n".join(unexpected)
            + "\nTo mend: a shared array goes under its owner's name, each name once."
        )
    values = resolve(type(model).__name__, kind, skeleton(model, which), tree)
    return map_owned(skeleton(model, which), lambda declaration: values[id(declaration)])


def trainable(model: Definition) -> Names:
    """Give the names of the parameters that are not declared `trainable=False`: a `where`.

    Args:
        model: The definition.

    Returns:
        The owners' names, in order.

    Example:
        >>> import funcparams as fp
        >>> from funcparams import init
        >>> class Scaled(fp.Module):
        ...     def __init__(self):
        ...         self.scale = fp.param((), init.ones())
        ...         self.fixed = fp.param((), init.ones(), trainable=False)
        >>> fp.trainable(Scaled())
        Names('scale',)
    """
    return Names(name for name, declared in owned(model, Param).items() if declared.trainable)


def _scope(params: Any) -> Scope:
    if not isinstance(params, Mapping):
        mend = (
            "model.names(where) selects in a definition"
            if isinstance(params, Definition)
            else ("give what model.init(key) returned")
        )
        raise DefinitionTypeError(
            f"expected a nested dict of arrays, got {describe(params)}; {mend}."
        )
    return Scope.of_tree(as_type(Tree, params))


def _map(tree: Any, function: Callable[[str, Any], Any], path: Path = ()) -> Any:
    """Map over the arrays with their names; references and holes stay."""
    if isinstance(tree, Mapping):
        branch = as_type("Mapping[str, Any]", tree)
        return {key: _map(value, function, (*path, str(key))) for key, value in branch.items()}
    return tree if isinstance(tree, Ref | None) else function(dotted(path), tree)


def _fill(value: Any, constant: Any) -> Any:
    """Put a constant where an array is; a parametrization's leaves get it each."""
    if isinstance(value, Parametrization):

        def fill(_: Any) -> Any:
            return constant

        return jax.tree.map(fill, value)
    return constant
