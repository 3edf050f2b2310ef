"""Walking definitions: the skeleton, owners and aliases, and PyTorch's order."""

from __future__ import annotations

from typing import Any

import jax
import pytest
from hypothesis import given

import funcparams as fp
from funcparams.core import walk
from funcparams.core.declarations import Buffer, Param
from funcparams.core.names import dotted, leaves
from funcparams.core.nodes import follow
from tests.models import Block, Chain, Language, Linear, nested, twice
from tests.recipes import build, recipes


def form(model: fp.Module, kind: Any = Param) -> Any:
    """The skeleton with shapes for declarations."""
    return walk.map_owned(walk.skeleton(model, kind), lambda declaration: declaration.shape)


def test_module_level_sharing_is_one_reference() -> None:
    assert form(twice()) == {"0": {"weight": (2, 2), "bias": (2,)}, "2": fp.Ref(".0")}


def test_declaration_level_sharing_is_a_reference_to_the_leaf() -> None:
    assert form(Language(5, 3)) == {
        "wte": {"weight": (5, 3)},
        "body": {"weight": (3, 3), "bias": (3,)},
        "head": {"weight": fp.Ref("..wte.weight")},
    }


def test_nested_sharing() -> None:
    assert form(nested()) == {
        "0": {
            "wte": {"weight": (5, 3)},
            "body": {"weight": (3, 3), "bias": (3,)},
            "head": {"weight": fp.Ref("..wte.weight")},
        },
        "1": {
            "wte": {"weight": fp.Ref("...0.wte.weight")},
            "body": {"weight": (3, 3), "bias": (3,)},
            "head": {"weight": fp.Ref("...0.wte.weight")},
        },
        "2": fp.Ref(".0"),
    }


def test_three_fold_sharing_names_one_owner() -> None:
    layer = Linear(1, 1, bias=False)
    model = Chain(layer, Chain(layer, layer))
    assert form(model) == {"0": {"weight": (1, 1)}, "1": {"0": fp.Ref("..0"), "1": fp.Ref("..0")}}
    known = walk.aliases(walk.skeleton(model, Param))
    assert known == {"0.weight": ["0.weight", "1.0.weight", "1.1.weight"]}


def test_own_declarations_come_before_those_of_children() -> None:
    """So the owner is where PyTorch lists it, even when it was assigned later."""

    class Late(fp.Module):
        def __init__(self) -> None:
            self.child = Linear(2, 2, bias=False)
            self.weight = self.child.weight

    assert form(Late()) == {"weight": (2, 2), "child": {"weight": fp.Ref("..weight")}}
    assert list(walk.owned(Late(), Param)) == ["weight"]


def test_buffers_have_a_tree_of_their_own() -> None:
    assert form(Block(3), Buffer) == {"norm": {"calls": (), "mean": (3,)}}
    assert form(Linear(1, 1), Buffer) == {}
    block = Block(3)
    shared = Chain(block, Linear(3, 3), block)
    assert form(shared, Buffer)["2"] == fp.Ref(".0")


def test_a_shared_module_without_parameters_has_no_entry() -> None:
    empty = Chain()
    assert form(Chain(empty, Linear(1, 1), empty)) == {"1": {"weight": (1, 1), "bias": (1,)}}


def test_modules_come_once_for_each_place() -> None:
    model = nested()
    names = [dotted(path) for path, node, _ in walk.modules(model) if isinstance(node, Linear)]
    assert names == ["0.body", "0.head", "1.body", "1.head", "2.body", "2.head"]


def test_find() -> None:
    model: Any = Chain(Linear(1, 2), [Linear(2, 2), {"a": Linear(2, 3)}])
    assert walk.find(model, "0") is getattr(model, "0")
    assert walk.find(model, "1.1.a.weight").shape == (3, 2)
    assert walk.find(model, "count") == 2
    for name in ("x", "0.x", "1.2", "1.x", "1.1.b", "count.x", "0.weight.shape", ""):
        with pytest.raises(KeyError):
            walk.find(model, name)


def test_place_names_are_all_that_can_be_replaced() -> None:
    model = Chain(Linear(1, 2), [Linear(2, 2)])
    names = walk.place_names(model)
    assert {"count", "0", "0.weight", "0.i", "1", "1.0.bias"} <= set(names)


@given(recipes())
def test_every_declaration_has_one_owner_and_every_reference_resolves(recipe: Any) -> None:
    model = build(recipe)
    for kind in (Param, Buffer):
        tree = walk.skeleton(model, kind)
        found = list(leaves(tree))
        owners = [value for _, value in found if not isinstance(value, fp.Ref)]
        assert len({id(value) for value in owners}) == len(owners)
        assert all(isinstance(value, kind) for value in owners)
        for path, value in found:
            if isinstance(value, fp.Ref):
                place, target = follow(tree, path, value)
                assert not isinstance(target, fp.Ref)
                if isinstance(target, dict):  # a shared module stands at its own place
                    assert walk.find(model, dotted(path)) is walk.find(model, dotted(place))
                else:
                    assert walk.find(model, dotted(path)) is target


@given(recipes())
def test_aliases_are_all_the_places_of_each_declaration(recipe: Any) -> None:
    model = build(recipe)
    for kind, listed in ((Param, model.named_parameters), (Buffer, model.named_buffers)):
        known = walk.aliases(walk.skeleton(model, kind))
        places: dict[int, list[str]] = {}
        for name, declaration in listed(remove_duplicate=False):
            places.setdefault(id(declaration), []).append(name)
        assert sorted(map(sorted, known.values())) == sorted(map(sorted, places.values()))
        assert [name for name, _ in listed()] == list(walk.owned(model, kind)) == list(known)


@given(recipes())
def test_every_array_is_one_leaf(recipe: Any) -> None:
    model = build(recipe)
    assert len(jax.tree.leaves(model.abstract())) == len(list(model.parameters()))
    assert len(jax.tree.leaves(model.abstract_state())) == len(list(model.buffers()))
