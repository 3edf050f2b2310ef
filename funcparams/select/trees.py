"""Selecting parameters by name, and what is built on it: masks, labels, partitions, updates, casts.

Everything here takes a tree of params (or any tree of the same form: gradients, state, an average)
and gives a new one; references stay where they are. A `where` that means a parameter means all
leaves of the parametrization that it holds, but those that are `frozen`; one that means a leaf by
its own name, `head.weight.a`, means this one, frozen or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from typing import cast as as_type

import jax
import jax.numpy as jnp

from funcparams.core.check import describe
from funcparams.core.declarations import Param
from funcparams.core.definition import Definition
from funcparams.core.errors import DefinitionTypeError, MismatchError
from funcparams.core.names import Tree, dotted, leaves, place
from funcparams.core.nodes import Parametrization, Ref
from funcparams.core.walk import owned
from funcparams.select.fields import FieldName, Leaf, map_leaves, merged
from funcparams.select.where import Names, Scope, Where, floating


def mask(params: Mapping[str, Any], where: Where) -> Tree:
    """Make a tree of bools that is True where `where` says: for `optax.masked`, `adamw(mask=)`.

    Args:
        params: A tree of params.
        where: Which parameters: a glob, a compiled regex, a predicate `(name, array) -> bool`,
            `model.names(...)`, or a tuple of these.

    Returns:
        A tree of the same structure. It is False at the frozen fields of parametrizations.

    Raises:
        SelectionError: If nothing is meant.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> params = nn.Linear(2, 1).init(jax.random.key(0))
        >>> fp.mask(params, "weight") == {"bias": False, "weight": True}
        True
    """
    meant = _scope(params).meant(where)
    return map_leaves(params, lambda leaf: _takes(meant, leaf, leaf.frozen))


def label(params: Mapping[str, Any], rules: Mapping[Any, Any], default: Any = None) -> Tree:
    """Make a tree of labels, for `optax.multi_transform` and the like.

    Args:
        params: A tree of params.
        rules: Labels by `where`; the first rule that means a parameter wins.
        default: The label of what no rule means; without one, every parameter must be meant.

    Returns:
        A tree of the same structure. The frozen fields of a parametrization have the labels of its
        others; take them out by `partition` where an optimiser would move what has no gradient.

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
    return map_leaves(params, lambda leaf: labels.get(leaf.name, default))


def partition(params: Mapping[str, Any], where: Where) -> tuple[Tree, Tree]:
    """Split a tree into two of one structure: what is meant, and the rest; None in the holes.

    Args:
        params: A tree of params.
        where: Which parameters, as for `mask`.

    Returns:
        (meant, rest). `jax.grad` with respect to the first alone freezes the second. The frozen
        fields of parametrizations go to the second, unless `where` names the fields themselves.

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
    known = _scope(params).meant(where)

    def part(wanted: bool) -> Tree:
        def keep(leaf: Leaf) -> Any:
            return leaf.value if _takes(known, leaf, leaf.frozen) is wanted else None

        return map_leaves(params, keep)

    return part(True), part(False)


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
        elif (value := _one(found)) is None:
            problems.append(f"{dotted(path)}: filled in {len(found)} trees")
        else:
            place(whole, path, value)
    if problems:
        raise MismatchError(
            "combine: the trees do not complete each other\n  "
            + "\n  ".join(problems)
            + "\nTo mend: give the trees that one fp.partition returned."
        )
    return whole


def _one(found: list[Any]) -> Any:
    """Give what stands in several trees at one place, if it completes itself to one thing."""
    if len(found) == 1 or all(isinstance(value, Ref) and value == found[0] for value in found):
        return found[0]
    return merged(found) if all(isinstance(value, Parametrization) for value in found) else None


def update(params: Mapping[str, Any], changes: Mapping[Any, Any]) -> Tree:
    """Make a tree with other values at some names; a reference means what it refers to.

    Args:
        params: A tree of params.
        changes: For each name or `where`, an array of the same shape, a number that fills the
            parameter, or a function of the old array. The first rule that means a parameter wins.
            What a parametrization holds is changed leaf by leaf, by their names.

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
    scope = _scope(params)
    chosen: dict[str, tuple[str, Any]] = {}
    for where, new in changes.items():
        for name, alias in scope.meant(where).items():
            chosen.setdefault(name, (alias, new))
    problems: dict[str, None] = {}  # each once, though a parametrization has several leaves

    def change(leaf: Leaf) -> Any:
        if leaf.name not in chosen:
            return leaf.value
        alias, new = chosen[leaf.name]
        changed, problem = _changed(leaf, new, by_field=isinstance(alias, FieldName))
        if problem:
            problems[problem] = None
        return changed

    result = map_leaves(params, change)
    if problems:
        raise MismatchError("update: values do not fit\n  " + "\n  ".join(problems))
    return result


def _changed(leaf: Leaf, new: Any, by_field: bool) -> tuple[Any, str]:
    """Give the new array, or the old one and what is wrong with the new."""
    name, old = leaf.name, leaf.value
    if leaf.node is not None and not by_field:
        return old, (
            f"{leaf.owner}: holds a {type(leaf.node).__name__}, which computes its array; "
            f"change its fields, {leaf.owner}.*, or put an array there: fp.materialize"
        )
    if callable(new):
        new = new(old)
    if isinstance(new, bool | int | float | complex):
        new = jnp.full(old.shape, new, None if isinstance(new, complex) else old.dtype)
    shape = getattr(new, "shape", None)
    if shape != old.shape:
        return old, f"{name}: expected {describe(old)}, got {describe(new)}"
    if not jnp.can_cast(new.dtype, old.dtype, casting="same_kind"):
        return old, f"{name}: expected {describe(old)}, got {describe(new)}; cast it first"
    return jnp.asarray(new, dtype=old.dtype), ""


def cast(params: Mapping[str, Any], dtype: Any, where: Where | None = None) -> Tree:
    """Give floating arrays another floating dtype; integers, keys and references stay.

    So do fields that a parametrization names in `uncast`, unless `where` names them.

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
    meant = {name: name for name in scope.values} if where is None else scope.meant(where)

    def convert(leaf: Leaf) -> Any:
        value, dtype = leaf.value, getattr(leaf.value, "dtype", None)
        # A plain number in a field has no dtype: it takes that of what it meets.
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            return value
        if not _takes(meant, leaf, leaf.uncast):
            return value
        if isinstance(value, jax.ShapeDtypeStruct):
            return value.update(dtype=wanted)
        return value.astype(wanted)

    return map_leaves(params, convert)


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


def _takes(meant: Mapping[str, str], leaf: Leaf, excepted: bool) -> bool:
    """Tell whether a leaf is meant; one that is excepted, by its own name only."""
    alias = meant.get(leaf.name)
    return alias is not None and (not excepted or isinstance(alias, FieldName))
