"""Names: paths, their natural order, and trees addressed by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcparams.core import names

components = st.text(st.sampled_from("abc019_:²"), min_size=1, max_size=4)
paths = st.lists(components, min_size=1, max_size=4).map(tuple)


@given(paths)
def test_split_undoes_dotted(path: names.Path) -> None:
    assert names.split(names.dotted(path)) == path


def test_the_empty_name_has_no_components() -> None:
    assert names.split("") == ()
    assert names.dotted(()) == ""


def test_natural_order_counts_numbers() -> None:
    listed = [("layers", str(n), "weight") for n in (10, 9, 2, 0)]
    listed += [("layers", "2", "bias"), ("block12",), ("block2",)]
    ordered = [names.dotted(path) for path in sorted(listed, key=names.natural)]
    assert ordered == [
        "block2",
        "block12",
        "layers.0.weight",
        "layers.2.bias",
        "layers.2.weight",
        "layers.9.weight",
        "layers.10.weight",
    ]


@given(st.lists(paths))
def test_natural_order_compares_any_names(listed: list[names.Path]) -> None:
    keys = [names.natural(path) for path in sorted(listed, key=names.natural)]
    assert keys == sorted(names.natural(path) for path in reversed(listed))


@given(st.dictionaries(paths, st.integers(), max_size=5))
def test_leaves_and_place_are_inverse(flat: dict[names.Path, int]) -> None:
    # A name cannot be a leaf and a branch.
    flat = {p: v for p, v in flat.items() if not any(q != p and q[: len(p)] == p for q in flat)}
    tree: names.Tree = {}
    for path, value in flat.items():
        names.place(tree, path, value)
    assert dict(names.leaves(tree)) == flat
    assert all(names.at(tree, path) == value for path, value in flat.items())


@pytest.mark.parametrize("path", [("x",), ("a", "x"), ("a", "b", "x")])
def test_at_gives_the_default_where_nothing_stands(path: names.Path) -> None:
    assert names.at({"a": {"b": 1}}, path) is None
    assert names.at({"a": {"b": 1}}, path, "nothing") == "nothing"


def test_leaves_keep_the_trees_own_order() -> None:
    assert list(names.leaves({"b": {"d": 1, "c": 2}, "a": 3})) == [
        (("b", "d"), 1),
        (("b", "c"), 2),
        (("a",), 3),
    ]
