"""Random nested definitions with random sharing, as data: the same recipe builds an equal model.

A recipe is a list of (name, member). A member is one of
    ("param", shape), ("buffer", shape)   a new declaration
    ("same", index)                       the declaration or module that was made index-th
    ("module", recipe)                    a new module
    ("list", members), ("dict", {key: member})
    ("none",), ("value", hyperparameter)
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import jax.numpy as jnp

import funcparams as fp
from funcparams import init

SHAPES = [(), (2,), (2, 3)]
NAMES = ["a", "b", "c", "w", "0", "10", "2"]
VALUES = [1, True, 1.0, 0.0, -0.0, "a", (1, 2), None]


class Node(fp.Module):
    """A module of a recipe's members."""

    def __init__(self, members: list[tuple[str, Any]]):
        for name, member in members:
            setattr(self, name, member)


class Leafy(Node):
    """Another class of the same form, for selection by type."""


def build(recipe: Any) -> fp.Module:
    """Follow a recipe."""
    return _module(recipe, [])


def _module(recipe: Any, made: list[Any]) -> fp.Module:
    members = [(name, _member(member, made)) for name, member in recipe]
    cls = Leafy if len(members) == 1 else Node
    return cls(members)


def _member(member: Any, made: list[Any]) -> Any:
    kind, *rest = member
    if kind == "same":
        return made[rest[0]]
    if kind == "none":
        return None
    if kind == "value":
        return rest[0]
    if kind == "list":
        return [_member(item, made) for item in rest[0]]
    if kind == "dict":
        return {key: _member(item, made) for key, item in rest[0].items()}
    if kind == "param":
        thing: Any = fp.param(rest[0], init.normal(std=1.0))
    elif kind == "buffer":
        thing = fp.buffer(rest[0], init.ones(), jnp.int32)
    else:
        thing = _module(rest[0], made)
    made.append(thing)
    return thing


@st.composite
def recipes(draw: Any, min_shared: int = 0, max_depth: int = 3) -> Any:
    """Draw a recipe; some need at least one shared thing."""
    made: list[str] = []  # what each number is, as build will make them

    def member(depth: int) -> Any:
        kinds = ["param", "param", "buffer", "none", "value"]
        kinds += ["same"] * (2 if made else 0)
        kinds += ["module", "module", "list", "dict"] if depth < max_depth else []
        kind = draw(st.sampled_from(kinds))
        if kind in ("param", "buffer"):
            made.append(kind)
            return (kind, draw(st.sampled_from(SHAPES)))
        if kind == "none":
            return ("none",)
        if kind == "value":
            return ("value", draw(st.sampled_from(VALUES)))
        if kind == "same":
            return ("same", draw(st.integers(0, len(made) - 1)))
        if kind == "module":
            inner = module(depth + 1)
            made.append(kind)
            return ("module", inner)
        count = draw(st.integers(1, 2))
        if kind == "list":
            return ("list", [member(depth + 1) for _ in range(count)])
        return ("dict", {f"k{index}": member(depth + 1) for index in range(count)})

    def module(depth: int) -> Any:
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
        return [(name, member(depth)) for name in names]

    recipe = module(0)
    if min_shared:
        if not made:
            recipe.append(("first", ("param", (2,))))
            made.append("param")
        recipe.append(("last", ("same", draw(st.integers(0, len(made) - 1)))))
    return recipe


def untied_recipe(recipe: Any, random: Any) -> Any:
    """Give the recipe with one shared place made anew, as it would be without the tie."""
    made: list[Any] = []
    places = _count(recipe)
    chosen = random.randrange(places)
    counter = iter(range(places))
    # Numbers after the untied place move up by the things that it makes anew.
    moved: dict[int, int] = {}
    new: list[Any] = []

    def copy_of(member: Any) -> Any:
        kind, *rest = member
        if kind == "same":
            if next(counter) == chosen:
                return fresh(made[rest[0]])
            return ("same", moved[rest[0]])
        if kind == "list":
            return ("list", [copy_of(item) for item in rest[0]])
        if kind == "dict":
            return ("dict", {key: copy_of(item) for key, item in rest[0].items()})
        result = ("module", [(n, copy_of(m)) for n, m in rest[0]]) if kind == "module" else member
        if kind in ("param", "buffer", "module"):
            moved[len(made)] = len(new)
            made.append(member)
            new.append(result)
        return result

    def fresh(member: Any) -> Any:
        """The thing again, inner ties to what stands outside kept."""
        kind, *rest = member
        if kind == "same":
            return ("same", moved[rest[0]])
        if kind == "list":
            return ("list", [fresh(item) for item in rest[0]])
        if kind == "dict":
            return ("dict", {key: fresh(item) for key, item in rest[0].items()})
        result = ("module", [(n, fresh(m)) for n, m in rest[0]]) if kind == "module" else member
        if kind in ("param", "buffer", "module"):
            new.append(result)
        return result

    return [(name, copy_of(member)) for name, member in recipe]


def _count(recipe: Any) -> int:
    """How many shared places a recipe has."""

    def count(member: Any) -> int:
        kind, *rest = member
        if kind == "module":
            return sum(count(inner) for _, inner in rest[0])
        if kind == "list":
            return sum(map(count, rest[0]))
        if kind == "dict":
            return sum(map(count, rest[0].values()))
        return kind == "same"

    return sum(count(member) for _, member in recipe)
