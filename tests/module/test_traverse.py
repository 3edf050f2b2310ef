"""PyTorch's traversals, on definitions (declarations) and on bound views (arrays)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import funcparams as fp
from tests.models import Block, Chain, Language, Linear, filled, nested, ones, twice
from tests.recipes import build, recipes


def names(pairs: Any) -> list[str]:
    return [name for name, _ in pairs]


class Mixed(fp.Module):
    """Own declarations after children, containers, None, and a shared child."""

    def __init__(self) -> None:
        self.child = Block(2)
        self.layers = [Linear(2, 2), (Linear(2, 1, bias=False), 3)]
        self.late = fp.param((1,), ones)
        self.none = None
        self.heads = {"b": self.child, "a": fp.param((2,), ones)}
        self.stat = fp.buffer((), ones)


def test_parameters_come_in_pytorchs_order() -> None:
    assert names(Mixed().named_parameters()) == [
        *("late", "child.layer.weight", "child.layer.bias", "child.norm.scale"),
        *("layers.0.weight", "layers.0.bias", "layers.1.0.weight", "heads.a"),
    ]
    assert names(Mixed().named_buffers()) == ["stat", "child.norm.calls", "child.norm.mean"]


def test_prefix_recurse_and_duplicates() -> None:
    model = Mixed()
    assert names(model.named_parameters("net", recurse=False)) == ["net.late", "net.heads.a"]
    assert names(model.named_buffers("net", recurse=False)) == ["net.stat"]
    every = names(model.named_parameters(remove_duplicate=False))
    assert every[-4:] == [
        *("heads.a", "heads.b.layer.weight", "heads.b.layer.bias", "heads.b.norm.scale"),
    ]
    assert len(every) == len(names(model.named_parameters())) + 3
    assert names(model.named_buffers(remove_duplicate=False))[-1] == "heads.b.norm.mean"


def test_parameters_and_buffers_are_the_values() -> None:
    model = Mixed()
    assert [p.shape for p in model.parameters()] == [p.shape for _, p in model.named_parameters()]
    assert [p.shape for p in model.parameters(recurse=False)] == [(1,), (2,)]
    assert [b.shape for b in model.buffers()] == [(), (), (2,)]
    assert [b.shape for b in model.buffers(recurse=False)] == [()]
    assert all(isinstance(p, fp.Param) for p in model.parameters())
    assert all(isinstance(b, fp.Buffer) for b in model.buffers())


def test_children_and_modules() -> None:
    model = Mixed()
    assert names(model.named_children()) == ["child", "layers.0", "layers.1.0"]
    assert [type(child) for child in model.children()] == [Block, Linear, Linear]
    assert names(model.named_modules()) == [
        *("", "child", "child.layer", "child.norm", "child.drop", "layers.0", "layers.1.0"),
    ]
    assert names(model.named_modules("net"))[:2] == ["net", "net.child"]
    every = names(model.named_modules(remove_duplicate=False))
    assert every[-4:] == ["heads.b", "heads.b.layer", "heads.b.norm", "heads.b.drop"]
    assert [type(module).__name__ for module in model.modules()][:3] == ["Mixed", "Block", "Linear"]


def test_shared_things_come_once() -> None:
    assert names(twice().named_parameters()) == ["0.weight", "0.bias"]
    assert names(twice().named_children()) == ["0"]
    assert names(twice().named_modules()) == ["", "0"]
    assert names(Language().named_parameters()) == ["wte.weight", "body.weight", "body.bias"]
    assert names(nested().named_parameters()) == [
        *("0.wte.weight", "0.body.weight", "0.body.bias", "1.body.weight", "1.body.bias"),
    ]


def test_a_part_has_no_prefix() -> None:
    model: Any = Chain(Linear(3, 4), Linear(4, 1))
    assert names(getattr(model, "0").named_parameters()) == ["weight", "bias"]
    view: Any = model.bind(filled(model))
    assert names(getattr(view, "1").named_parameters()) == ["weight", "bias"]
    assert [p.shape for p in getattr(view, "1").parameters()] == [(1, 4), (1,)]


@pytest.mark.parametrize("model", [Mixed(), twice(), nested()])
def test_views_list_the_same_names_with_arrays(model: fp.Module) -> None:
    params = filled(model)
    view = model.bind(params, model.init_state())
    flat = fp.flatten(params)
    for name, array in view.named_parameters():
        assert array is flat[name]
    assert names(view.named_parameters()) == names(model.named_parameters())
    assert names(view.named_buffers()) == names(model.named_buffers())
    assert names(view.named_modules()) == names(model.named_modules())
    assert names(view.named_children()) == names(model.named_children())
    everything = dict(view.named_parameters(remove_duplicate=False))
    assert list(everything) == names(model.named_parameters(remove_duplicate=False))
    for _, module in view.named_modules():
        with pytest.raises(fp.BoundError):  # each is a view itself
            module.bind({})


def test_the_traversals_are_generators() -> None:
    model = Mixed()
    for listing in (
        *(model.named_parameters(), model.parameters(), model.named_buffers(), model.buffers()),
        *(model.named_children(), model.children(), model.named_modules(), model.modules()),
    ):
        assert iter(listing) is listing
        assert next(listing) is not None


@given(recipes())
def test_children_are_the_modules_one_component_or_container_down(recipe: Any) -> None:
    model = build(recipe)
    everything = dict(model.named_modules(remove_duplicate=False))
    assert set(names(model.named_children())) <= set(everything)
    once = list(model.modules())
    assert len({id(module) for module in once}) == len(once)
    assert {id(module) for module in everything.values()} == {id(module) for module in once}
    for name, module in everything.items():
        inside = names(module.named_parameters(name, remove_duplicate=False))
        assert set(inside) <= set(names(model.named_parameters(remove_duplicate=False)))
