"""The text of a definition: PyTorch's nested form, ties marked."""

from __future__ import annotations

from typing import Any

import funcparams as fp
from tests.models import Chain, Drop, Language, Linear, Table, filled, ones, squash, twice


def test_one_line() -> None:
    assert repr(Linear(2, 3)) == "Linear(i=2, o=3)"
    assert repr(Drop(0.1)) == "Drop(rate=0.1)"
    assert repr(Table(2, 3)) == "Table()"


def test_hyperparameters_are_shown_by_value() -> None:
    model = Chain(squash, int, [1, (2.0, "a")], {"a": None}, None)
    assert repr(model) == (
        "Chain(count=5, 0=squash, 1=<class 'int'>, 2=(1, (2.0, 'a')), 3={'a': None})"
    )


def test_nested_modules_are_indented() -> None:
    model = Chain(Linear(2, 3), Chain(Linear(3, 1), Drop()))
    assert repr(model) == (
        "Chain(\n"
        "  count=2\n"
        "  (0): Linear(i=2, o=3)\n"
        "  (1): Chain(\n"
        "    count=2\n"
        "    (0): Linear(i=3, o=1)\n"
        "    (1): Drop(rate=0.5)\n"
        "  )\n"
        ")"
    )


def test_containers_have_the_names_of_pytorchs() -> None:
    class Model(fp.Module):
        def __init__(self) -> None:
            self.layers = [Linear(1, 1), {"a": [Drop()]}, "text"]
            self.scales = [fp.param((), ones)]

    assert repr(Model()) == (
        "Model(\n"
        "  (layers): ModuleList(\n"
        "    (0): Linear(i=1, o=1)\n"
        "    (1): ModuleDict(\n"
        "      (a): ModuleList(\n"
        "        (0): Drop(rate=0.5)\n"
        "      )\n"
        "    )\n"
        "  )\n"
        ")"
    )


def test_equal_neighbours_in_a_list_are_written_once() -> None:
    class Model(fp.Module):
        def __init__(self) -> None:
            shared = Drop()
            self.layers = [Linear(1, 1), Linear(1, 1), shared, shared, Linear(1, 1)]

    assert repr(Model()) == (
        "Model(\n"
        "  (layers): ModuleList(\n"
        "    (0-1): 2 x Linear(i=1, o=1)\n"
        "    (2): Drop(rate=0.5)\n"
        "    (3): Drop(rate=0.5)  # shared with layers.2\n"
        "    (4): Linear(i=1, o=1)\n"
        "  )\n"
        ")"
    )


def test_shared_modules_are_shown_at_every_place_and_marked() -> None:
    assert repr(twice()) == (
        "Chain(\n"
        "  count=3, 1=squash\n"
        "  (0): Linear(i=2, o=2)\n"
        "  (2): Linear(i=2, o=2)  # shared with 0\n"
        ")"
    )


def test_shared_declarations_are_marked() -> None:
    assert repr(Language(5, 3)) == (
        "Language(\n"
        "  (wte): Table()\n"
        "  (body): Linear(i=3, o=3)\n"
        "  (head): Linear(i=3, o=5)  # weight shared with wte.weight\n"
        ")"
    )


def test_a_tie_inside_a_shared_module_is_marked_at_each_place() -> None:
    language = Language(5, 3)
    text = repr(Chain(language, language))
    assert text.count("# weight shared with 0.wte.weight") == 1
    assert "  )  # shared with 0\n" in text
    assert "(wte): Table()  # shared with 0.wte" in text


def test_extra_repr_can_be_overridden() -> None:
    class Named(Linear):
        def extra_repr(self) -> str:
            return f"{self.i} -> {self.o}"

    assert repr(Named(2, 3)) == "Named(2 -> 3)"
    assert repr(Chain(Named(2, 3))) == "Chain(\n  count=1\n  (0): Named(2 -> 3)\n)"


def test_a_view_is_shown_like_its_definition() -> None:
    model = Chain(Linear(2, 3))
    view: Any = model.bind(filled(model))
    assert repr(view) == repr(model)
