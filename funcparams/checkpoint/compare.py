"""`diff`: what differs between two sets of params, and by how much."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from funcparams.checkpoint.arrays import gap, host
from funcparams.checkpoint.reader import File, Handles
from funcparams.checkpoint.report import aligned
from funcparams.core.check import describe
from funcparams.core.errors import DefinitionTypeError
from funcparams.core.names import natural, split
from funcparams.core.trace import Tracer
from funcparams.select.fields import FieldName
from funcparams.select.where import Scope

What: TypeAlias = Literal["only in a", "only in b", "shape", "dtype", "values", "sharing"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """One name at which two sets of params differ.

    Attributes:
        name: The dotted name.
        what: Where it stands alone, or what differs. `sharing` is a name of a shared array on one
            side and an array of its own, or the name of another, on the other.
        a: What the first has there: `float32[2,3]`, or `= owner` at a shared place.
        b: What the second has there.
        largest: The largest absolute difference of two numbers; None where they are not compared.
        count: How many numbers differ.
        size: Of how many.

    Example:
        >>> import funcparams as fp, numpy as np
        >>> a, b = {"x": np.zeros(3)}, {"x": np.array([0, 0.5, 0])}
        >>> fp.diff(a, b).differences[0].largest
        0.5
    """

    name: str
    what: What
    a: str = ""
    b: str = ""
    largest: float | None = None
    count: int = 0
    size: int = 0

    @property
    def detail(self) -> str:
        """By how much the numbers differ, in words."""
        if self.largest is None:
            return ""
        if not self.count:
            return "equal numbers"
        return f"by up to {self.largest:.3g} in {self.count:,} of {self.size:,}"


@dataclasses.dataclass(frozen=True)
class Diff:
    """What differs between two sets of params; false where nothing does. `print` shows a table.

    Attributes:
        differences: One for each name that differs.
        same: How many names do not differ.

    Example:
        >>> import funcparams as fp, numpy as np
        >>> a = {"w": np.ones((2, 2), np.float32), "b": np.zeros(2, np.float32)}
        >>> print(fp.diff(a, {"w": a["w"] + 0.25, "b": np.zeros(2, np.float16)}))
        2 of 2 names differ
        name  what    a             b             how much
        b     dtype   float32[2]    float16[2]    equal numbers
        w     values  float32[2,2]  float32[2,2]  by up to 0.25 in 4 of 4
    """

    differences: tuple[Difference, ...]
    same: int

    def __bool__(self) -> bool:
        return bool(self.differences)

    def __len__(self) -> int:
        return len(self.differences)

    def __iter__(self) -> Iterator[Difference]:
        return iter(self.differences)

    def __str__(self) -> str:
        total = len(self) + self.same
        names = f"{total} name{'' if total == 1 else 's'}"
        if not self.differences:
            return f"{names}, no difference"
        rows = [("name", "what", "a", "b", "how much")]
        rows += [(each.name, each.what, each.a, each.b, each.detail) for each in self.differences]
        return "\n".join([f"{len(self)} of {names} differ", *aligned(rows)])


def diff(a: Mapping[str, Any], b: Mapping[str, Any]) -> Diff:
    """Compare two sets of params (or states, gradients, files) name by name.

    nan equals nan, and 0.0 equals -0.0. Of files, one tensor at a time is read.

    Args:
        a: A tree of arrays, a flat dict of them by dotted names, or what `load(path)` returned.
            Arrays are JAX's, numpy's or PyTorch's; `jax.ShapeDtypeStruct`s have no numbers to
            compare.
        b: The other.

    Returns:
        What differs, in the order of `a`: natural for a tree, its own for a flat dict or file.

    Raises:
        DefinitionTypeError: If something is no array, or traced.

    Example:
        >>> import funcparams as fp, jax
        >>> from funcparams import nn
        >>> model = nn.Linear(2, 3)
        >>> a = model.init(jax.random.key(0))
        >>> b = fp.update(a, {"bias": 1.0})
        >>> [difference.name for difference in fp.diff(a, b)]
        ['bias']
        >>> bool(fp.diff(a, a))
        False
    """
    first, second = _named(a), _named(b)
    names = list(dict.fromkeys([*first, *second]))
    found = [_compare(name, first.get(name), second.get(name)) for name in names]
    differences = tuple(each for each in found if each is not None)
    return Diff(differences, len(names) - len(differences))


@dataclasses.dataclass(frozen=True)
class _Entry:
    """An array under one of its names; `owner` is another one where it is shared."""

    value: Any
    owner: str

    def shown(self, name: str) -> str:
        return describe(self.value) if self.owner == name else f"= {self.owner}"


def _named(tree: Any) -> dict[str, _Entry]:
    """Give all names of a tree, a flat dict or a file."""
    if isinstance(tree, File):
        return {n: _Entry(each, tree.ties.get(n, n)) for n, each in Handles(tree).items()}
    if not isinstance(tree, Mapping):
        raise DefinitionTypeError(
            f"diff: expected a nested dict of arrays, got {describe(tree)}.\n"
            "  A file is opened by fp.load(path), a torch module gives .state_dict()."
        )
    flat = cast("Mapping[str, Any]", tree)
    if any("." in str(name) for name in flat):  # a component of a tree has no dot
        return {name: _Entry(_checked(name, value), name) for name, value in flat.items()}
    scope = Scope.of_tree(dict(flat))
    found: dict[str, _Entry] = {}
    for owner, value in scope.values.items():
        known = list(scope.aliases[owner])
        # The names of a parametrization's field are also those of the parameter.
        fields = [name for name in known if isinstance(name, FieldName)]
        for name in fields or known:
            found[str(name)] = _Entry(_checked(owner, value), owner)
    return {name: found[name] for name in sorted(found, key=lambda name: natural(split(name)))}


def _checked(name: str, value: Any) -> Any:
    if isinstance(value, Tracer):
        raise DefinitionTypeError(
            f"diff: {name} is traced, and has no numbers yet.\n  Call it outside of jax.jit."
        )
    return value if isinstance(value, jax.ShapeDtypeStruct) else host(name, value)


def _compare(name: str, a: _Entry | None, b: _Entry | None) -> Difference | None:
    if a is None or b is None:
        here, there = ("" if each is None else each.shown(name) for each in (a, b))
        return Difference(name, "only in b" if a is None else "only in a", here, there)
    if a.owner == b.owner != name:  # compared under the owner's name
        return None
    sides = a.shown(name), b.shown(name)
    if a.value.shape != b.value.shape:
        return Difference(name, "shape", *sides)
    what = "sharing" if a.owner != b.owner else "dtype" if a.value.dtype != b.value.dtype else ""
    if a.value is b.value or any(isinstance(e.value, jax.ShapeDtypeStruct) for e in (a, b)):
        return Difference(name, what, *sides) if what else None
    largest, count = gap(_numbers(a.value), _numbers(b.value))
    if not what and not count:
        return None
    return Difference(name, what or "values", *sides, largest, count, math.prod(a.value.shape))


def _numbers(value: Any) -> np.ndarray[Any, Any]:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return np.asarray(value)
