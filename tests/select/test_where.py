"""The selection language: what a `where` means, and that meaning nothing is an error."""

from __future__ import annotations

import re
from typing import Any

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcparams as fp
from tests.models import Block, Chain, Language, Linear, Table, filled, nested, ones, twice
from tests.recipes import Leafy, build, recipes

MODEL = Chain(Linear(2, 2), [Block(2), {"a": Linear(2, 3)}], Linear(3, 1, bias=False))
NAMES = [
    *("0.weight", "0.bias", "1.0.layer.weight", "1.0.layer.bias", "1.0.norm.scale"),
    *("1.1.a.weight", "1.1.a.bias", "2.weight"),
]


# Globs, regular expressions, types, predicates, and several of them


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("**", NAMES),
        ("0.weight", ["0.weight"]),
        ("*.weight", ["0.weight", "2.weight"]),
        ("**.weight", ["0.weight", "1.0.layer.weight", "1.1.a.weight", "2.weight"]),
        ("**weight", ["0.weight", "1.0.layer.weight", "1.1.a.weight", "2.weight"]),
        ("1.**", NAMES[2:7]),
        ("1.**.bias", ["1.0.layer.bias", "1.1.a.bias"]),
        ("1.*.*.bias", ["1.0.layer.bias", "1.1.a.bias"]),
        ("?.weight", ["0.weight", "2.weight"]),
        ("1.?.?.*", ["1.1.a.weight", "1.1.a.bias"]),
        ("**.n*.s*", ["1.0.norm.scale"]),
        (re.compile(r".*bias"), ["0.bias", "1.0.layer.bias", "1.1.a.bias"]),
        (re.compile(r"[02]\.\w+"), ["0.weight", "0.bias", "2.weight"]),
        (Block, NAMES[2:5]),
        (Linear, [name for name in NAMES if "norm" not in name]),
        (Chain, NAMES),
        (fp.Module, NAMES),
        (
            lambda name, p: p.ndim == 1 and "1." in name,
            ["1.0.layer.bias", "1.0.norm.scale", "1.1.a.bias"],
        ),
        (("0.*", Block), NAMES[:5]),
        (("2.*", ("0.bias", re.compile(".*scale"))), ["0.bias", "1.0.norm.scale", "2.weight"]),
        (fp.Names(["0.bias", "2.weight"]), ["0.bias", "2.weight"]),
        (fp.Names(), []),
    ],
)
def test_what_a_where_means(where: Any, expected: list[str]) -> None:
    names = MODEL.names(where)
    assert list(names) == expected
    assert isinstance(names, fp.Names)
    assert MODEL.names(names) == names  # it is a where itself


def test_characters_of_globs_are_plain_otherwise() -> None:
    class Odd(fp.Module):
        def __init__(self) -> None:
            setattr(self, "w[0]+(a)", fp.param((), ones))
            self.w0a = fp.param((), ones)

    assert Odd().names("w[0]+(a)") == ("w[0]+(a)",)
    assert Odd().names("w*") == ("w[0]+(a)", "w0a")


def test_a_shared_parameter_is_meant_by_any_of_its_names() -> None:
    model = Language()
    assert model.names("head.weight") == ("wte.weight",)
    assert model.names("head.*") == model.names("wte.*") == ("wte.weight",)
    assert model.names(Table) == ("wte.weight",)
    assert model.names(Linear) == ("wte.weight", "body.weight", "body.bias")
    assert twice().names("2.*") == ("0.weight", "0.bias")
    assert nested().names("2.body.**") == ("0.body.weight", "0.body.bias")
    assert nested().names("1.head.weight") == ("0.wte.weight",)
    params = filled(model)
    assert fp.mask(params, "head.weight")["wte"]["weight"] is True


def test_a_predicate_sees_every_name() -> None:
    seen: list[str] = []
    model = Language()
    model.names(lambda name, p: seen.append(name) or p.ndim == 2)
    assert set(seen) >= {"wte.weight", "body.weight", "body.bias"}
    assert model.names(lambda name, p: name == "head.weight") == ("wte.weight",)


def test_names_read_as_what_they_are() -> None:
    assert repr(MODEL.names("*.bias")) == "Names('0.bias',)"
    assert hash(MODEL.names("*.bias")) == hash(fp.Names(["0.bias"]))


# What means nothing


def nothing(where: Any, model: fp.Module = MODEL) -> str:
    with pytest.raises(fp.SelectionError) as caught:
        model.names(where)
    assert isinstance(caught.value, KeyError)
    return str(caught.value)


def test_a_typo_gets_the_nearest_name() -> None:
    assert nothing("1.0.layer.wieght") == (
        "'1.0.layer.wieght' selects nothing; did you mean '1.0.layer.weight'?\n"
        "  The names are 0.weight, 0.bias, 1.0.layer.weight, 1.0.layer.bias, 1.0.norm.scale, "
        "1.1.a.weight, ...."
    )


def test_a_module_where_parameters_are_meant() -> None:
    text = "'1.0' selects nothing; '1.0' is a module: write '1.0.**' for all below it"
    assert nothing("1.0").startswith(text)


def test_other_selectors_that_mean_nothing() -> None:
    assert nothing(re.compile("weight")).startswith("re.compile('weight') selects nothing\n")
    assert nothing(Table).startswith("Table selects nothing\n")
    assert nothing(lambda name, p: False).startswith("<function ")
    assert nothing(("0.*", "x.*")).startswith("'x.*' selects nothing")  # even beside another
    assert nothing(()).startswith("() selects nothing")
    assert nothing(fp.Names(["gone"])).startswith("Names('gone',) selects nothing")
    assert nothing("a", Chain()) == "'a' selects nothing\n  The names are (none)."


@pytest.mark.parametrize("where", [3, None, b"bias", ["0.*"], Linear(1, 1), {"0.weight"}])
def test_what_is_no_where(where: Any) -> None:
    with pytest.raises(fp.DefinitionTypeError) as caught:
        MODEL.names(where)
    assert str(caught.value).startswith(f"where={where!r}: expected a glob such as '**.bias', ")


def test_a_bare_tree_knows_no_types() -> None:
    with pytest.raises(fp.DefinitionTypeError) as caught:
        fp.mask(filled(MODEL), Linear)
    assert str(caught.value) == (
        "where=Linear: a tree of arrays does not know the types of its modules.\n"
        "  Ask the definition: model.names(Linear)."
    )
    assert fp.mask(filled(MODEL), MODEL.names(Block))["1"]["0"]["norm"]["scale"] is True


def test_the_definition_instead_of_its_params() -> None:
    for function, argument in (
        *((fp.mask, "**"), (fp.partition, "**"), (fp.cast, jnp.float16)),
        *((fp.update, {"**": 1}), (fp.label, {"**": 1})),
    ):
        with pytest.raises(fp.DefinitionTypeError) as caught:
            function(MODEL, argument)  # pyright: ignore
        assert str(caught.value) == (
            "expected a nested dict of arrays, got the module Chain; "
            "model.names(where) selects in a definition."
        )
    with pytest.raises(fp.DefinitionTypeError, match=r"got float32\[2\]; give what model.init"):
        fp.mask(jnp.ones(2), "**")  # pyright: ignore


# For any definition


@given(recipes(), st.data())
def test_selections_agree_on_definition_and_params(recipe: Any, data: Any) -> None:
    model = build(recipe)
    every = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if not every:
        return
    chosen = tuple(data.draw(st.sets(st.sampled_from(every), min_size=1)))
    names = model.names(chosen)
    declared = dict(model.named_parameters(remove_duplicate=False))
    wanted = {id(declared[name]) for name in chosen}
    assert list(names) == [n for n, p in model.named_parameters() if id(p) in wanted]
    masked = fp.flatten(fp.mask(filled(model), chosen))
    assert {name for name, value in masked.items() if value} == set(names)


@given(recipes())
def test_a_type_means_the_parameters_of_its_modules(recipe: Any) -> None:
    model = build(recipe)
    inside = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, Leafy)
        for parameter in module.parameters()
    }
    expected = [name for name, p in model.named_parameters() if id(p) in inside]
    if expected:
        assert list(model.names(Leafy)) == expected
    else:
        nothing(Leafy, model)
