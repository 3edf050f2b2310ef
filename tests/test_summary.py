"""The table of a definition: its text, what is shared, folding, selecting, and every other form."""

from __future__ import annotations

import gc
import html.parser
import io
import json
import math
import sys
import tracemalloc
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import pytest
import rich.console

import funcparams as fp
from funcparams import init, nn
from funcparams.summaries import Row, Summary


class LeNet(fp.Module):
    def __init__(self) -> None:
        self.conv = nn.Sequential(
            nn.Conv2d(1, 6, 5), nn.Sigmoid(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.fc = nn.Sequential(
            nn.Linear(256, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)
        )


class Norm(fp.Module):
    def __init__(self) -> None:
        self.weight = fp.param((4,), init.ones())
        self.mean = fp.buffer((4,), init.zeros())
        self.seen = fp.buffer((), init.zeros(), jnp.int32)


class Mixed(fp.Module):
    """Parameters, a fixed one, buffers, a shared module, a shared declaration, containers."""

    def __init__(self) -> None:
        block = nn.Linear(4, 4)
        self.scale = fp.param((), init.ones(), jnp.bfloat16, trainable=False)
        self.wte = nn.Embedding(10, 4)
        self.layers = [block, Norm(), block]
        self.heads = {"a": nn.Linear(4, 2), "b": [fp.param((3,), init.zeros())]}
        self.out = nn.Linear(4, 10, bias=False).replace(weight=self.wte.weight)


LENET = """\
LeNet
name           type    shape          dtype    parameters    bytes  trainable
-------------  ------  -------------  -------  ----------  -------  ---------
conv.0.weight  Conv2d  (6, 1, 5, 5)   float32         150      600  yes
conv.0.bias    Conv2d  (6,)           float32           6       24  yes
conv.3.weight  Conv2d  (16, 6, 5, 5)  float32       2,400    9,600  yes
conv.3.bias    Conv2d  (16,)          float32          16       64  yes
fc.0.weight    Linear  (120, 256)     float32      30,720  122,880  yes
fc.0.bias      Linear  (120,)         float32         120      480  yes
fc.2.weight    Linear  (84, 120)      float32      10,080   40,320  yes
fc.2.bias      Linear  (84,)          float32          84      336  yes
fc.4.weight    Linear  (10, 84)       float32         840    3,360  yes
fc.4.bias      Linear  (10,)          float32          10       40  yes
Parameters: 44,426
Bytes:      177,704 (173.5 KiB)"""

MIXED = """\
Mixed
name             type       shape    dtype     parameters  buffers  bytes  trainable  shared with
---------------  ---------  -------  --------  ----------  -------  -----  ---------  ------------
scale            Mixed      ()       bfloat16           1               2  no
wte.weight       Embedding  (10, 4)  float32           40             160  yes
layers.0.weight  Linear     (4, 4)   float32           16              64  yes
layers.0.bias    Linear     (4,)     float32            4              16  yes
layers.1.weight  Norm       (4,)     float32            4              16  yes
layers.1.mean    Norm       (4,)     float32                     4     16
layers.1.seen    Norm       ()       int32                       1      4
layers.2         Linear                                                               = layers.0
heads.a.weight   Linear     (2, 4)   float32            8              32  yes
heads.a.bias     Linear     (2,)     float32            2               8  yes
heads.b.0        Mixed      (3,)     float32            3              12  yes
out.weight       Linear     (10, 4)  float32                               yes        = wte.weight
Parameters: 78 (77 trainable, 1 not)
Buffers:    5
Bytes:      330"""

FOLDED = """\
Mixed
name    type        shape  dtype           parameters  buffers  bytes  trainable  shared with
------  ----------  -----  --------------  ----------  -------  -----  ---------  ------------
scale   Mixed       ()     bfloat16                 1               2  no
wte     Embedding          float32                 40             160  yes
layers  tuple of 3         float32, int32          24        5    116  yes
heads   dict of 2          float32                 13              52  yes
out     Linear             float32                                                = wte.weight
Parameters: 78 (77 trainable, 1 not)
Buffers:    5
Bytes:      330"""


# The text


def test_lenet() -> None:
    table = fp.summary(LeNet())
    assert (table.parameters, table.trainable, table.buffers) == (44_426, 44_426, 0)
    assert len(table.rows) == 10
    assert str(table) == LENET


def test_everything_at_once() -> None:
    assert str(fp.summary(Mixed())) == MIXED


def test_no_rows() -> None:
    assert str(fp.summary(nn.ReLU())) == "ReLU\nParameters: 0\nBytes:      0"


def test_an_empty_array_counts_as_nothing_and_says_so() -> None:
    class Empty(fp.Module):
        def __init__(self) -> None:
            self.none = fp.param((0, 3), init.zeros())

    line = str(fp.summary(Empty())).splitlines()[3]
    assert line.split() == ["none", "Empty", "(0,", "3)", "float32", "0", "0", "yes"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "Bytes:      0"),
        (1023, "Bytes:      1,023"),
        (1024, "Bytes:      1,024 (1.0 KiB)"),
        (1024**2 - 1, "Bytes:      1,048,575 (1,024.0 KiB)"),
        (3 * 2**40, "Bytes:      3,298,534,883,328 (3.0 TiB)"),
        (2**60, "Bytes:      1,152,921,504,606,846,976 (1,024.0 PiB)"),
    ],
)
def test_bytes_are_rounded_beside_the_exact_number(size: int, text: str) -> None:
    assert str(Summary("M", (), 0, 0, 0, size)).splitlines()[-1] == text


def test_repr_is_the_text() -> None:
    assert repr(fp.summary(LeNet())) == str(fp.summary(LeNet()))


# Sharing


def test_a_shared_module_is_counted_once() -> None:
    shared = nn.Linear(8, 8)
    net = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1)
    )
    table = fp.summary(net)
    assert table.parameters == 121
    assert [row.name for row in table.rows if not row.shared_with] == list(net.names("**"))
    (alias,) = [row for row in table.rows if row.shared_with]
    assert alias == Row("4", "module", "Linear", shared_with=("2",))


def test_a_shared_declaration_keeps_its_shape_and_counts_nothing() -> None:
    alias = fp.summary(Mixed()).rows[-1]
    assert alias == Row(
        "out.weight", "parameter", "Linear", (10, 4), "float32",
        trainable=True, shared_with=("wte.weight",),
    )  # fmt: skip


def test_a_shared_module_without_arrays_has_no_row() -> None:
    relu = nn.ReLU()
    assert fp.summary(nn.Sequential(relu, nn.Linear(1, 1), relu)).rows[-1].name == "1.bias"


def test_deep_sharing_takes_a_row_for_each_place_not_for_each_path() -> None:
    module: fp.Module = nn.Linear(1, 1)
    for _ in range(60):  # 2 ** 60 paths
        module = nn.Sequential(module, module)
    table = fp.summary(module)
    assert (table.parameters, len(table.rows)) == (2, 62)


@st.composite
def definitions(draw: st.DrawFn) -> fp.Module:
    """Nested Sequentials, whose parts may be drawn again: shared within and across."""
    known: list[fp.Module] = [nn.Linear(2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Embedding(3, 2)]
    for _ in range(draw(st.integers(1, 5))):
        known.append(nn.Sequential(*draw(st.lists(st.sampled_from(known), max_size=3))))
    return known[-1]


@hypothesis.given(definitions(), st.none() | st.integers(0, 5))
@hypothesis.settings(max_examples=60, deadline=None)
def test_totals_are_those_of_the_trees(model: fp.Module, depth: int | None) -> None:
    table = fp.summary(model, depth=depth)
    params, state = jax.tree.leaves(model.abstract()), jax.tree.leaves(model.abstract_state())
    assert table.parameters == sum(math.prod(leaf.shape) for leaf in params)
    assert table.buffers == sum(math.prod(leaf.shape) for leaf in state)
    assert table.bytes == sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in params + state
    )
    for field in ("parameters", "buffers", "bytes"):
        assert sum(getattr(row, field) for row in table.rows) == getattr(table, field)
    names = [row.name for row in table.rows]
    assert len(set(names)) == len(names)
    if depth is None:
        counted = [row for row in table.rows if not row.shared_with]
        for kind, listed in (
            ("parameter", model.named_parameters()),
            ("buffer", model.named_buffers()),
        ):
            assert [r.name for r in counted if r.kind == kind] == [name for name, _ in listed]
    else:
        assert all(len(name.split(".")) <= max(depth, 1) for name in names)


# Folding


def test_depth_folds_by_module() -> None:
    assert str(fp.summary(Mixed(), depth=1)) == FOLDED


def test_depth_0_is_one_row() -> None:
    (row,) = fp.summary(Mixed(), depth=0).rows
    assert row == Row("", "module", "Mixed", None, "bfloat16, float32, int32", 78, 5, 330, None)
    assert "partly" in str(fp.summary(Mixed(), depth=0))


def test_depth_beyond_all_names_folds_nothing() -> None:
    assert fp.summary(Mixed(), depth=9) == fp.summary(Mixed())


def test_a_folded_module_names_up_to_two_owners_elsewhere() -> None:
    owners = [nn.Linear(1, 1, bias=False) for _ in range(3)]
    table = fp.summary(nn.Sequential(*owners, nn.Sequential(*owners)), depth=1)
    assert table.rows[-1].shared_with == ("0", "1", "2")
    assert str(table).splitlines()[6].endswith("  = 0, 1, ...")


@pytest.mark.parametrize("depth", [-1, True, 1.5, "1"])
def test_a_depth_that_is_no_count_is_refused(depth: Any) -> None:
    with pytest.raises(TypeError) as caught:
        fp.summary(nn.ReLU(), depth=depth)
    assert str(caught.value) == (
        f"summary(depth={depth!r}): expected how many components of the names to keep, an int "
        "from 0 on, or None to fold nothing."
    )


# Selecting


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("**.bias", ["layers.0.bias", "layers.2", "heads.a.bias"]),
        ("layers.1.*n", ["layers.1.mean", "layers.1.seen"]),
        ("out.weight", ["wte.weight", "out.weight"]),
        (nn.Embedding, ["wte.weight", "out.weight"]),
        (lambda name, declared: declared.dtype == jnp.bfloat16, ["scale"]),
        (("scale", "**.seen"), ["scale", "layers.1.seen"]),
    ],
)
def test_where_selects_parameters_and_buffers(where: Any, names: list[str]) -> None:
    table = fp.summary(Mixed(), where=where)
    assert [row.name for row in table.rows] == names
    assert table.parameters == sum(row.parameters for row in table.rows)
    assert "\nOf these rows:\n" in str(table)


def test_where_and_depth_together() -> None:
    table = fp.summary(Mixed(), where="**.weight", depth=1)
    assert [(row.name, row.parameters) for row in table.rows] == [
        ("wte", 40), ("layers", 20), ("heads", 8), ("out", 0),
    ]  # fmt: skip


def test_where_that_means_nothing_is_an_error() -> None:
    with pytest.raises(
        fp.SelectionError, match=r"'fc\.0.wieght' selects nothing; did you mean 'fc\.0\.w"
    ):
        fp.summary(LeNet(), where="fc.0.wieght")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"weight": 1},
            "summary: expected a definition, got dict.\n"
            "  It reads declarations, so give the model itself: fp.summary(model).",
        ),
        (
            LeNet,
            "summary: expected a definition, got the class LeNet: write LeNet(...).",
        ),
    ],
)
def test_what_is_no_definition_is_refused(given: Any, text: str) -> None:
    with pytest.raises(fp.DefinitionTypeError) as caught:
        fp.summary(given)
    assert str(caught.value) == text


def test_a_bound_view_has_the_same_summary() -> None:
    model = nn.Linear(2, 3)
    assert fp.summary(model.bind(model.init(jax.random.key(0)))) == fp.summary(model)


# Plain data, rich, HTML


def test_to_dict_survives_json() -> None:
    plain = fp.summary(Mixed()).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["rows"][1] == {
        "name": "wte.weight", "kind": "parameter", "type": "Embedding", "shape": [10, 4],
        "dtype": "float32", "parameters": 40, "buffers": 0, "bytes": 160, "trainable": True,
        "shared_with": [],
    }  # fmt: skip
    assert {key: plain[key] for key in plain if key != "rows"} == {
        "model": "Mixed", "parameters": 78, "trainable": 77, "buffers": 5, "bytes": 330,
        "selected": False,
    }  # fmt: skip


class Marked(fp.Module):
    """A name that is markup both to rich and to a browser."""

    def __init__(self) -> None:
        self.heads = {"[red]<b>&": nn.Linear(1, 1, bias=False)}


def test_rich_shows_what_the_text_shows() -> None:
    table = fp.summary(Mixed())
    console = rich.console.Console(width=200, record=True, file=io.StringIO())
    table.show(console)
    shown = [line.split() for line in console.export_text().splitlines()]
    plain = [line.split() for line in str(table).splitlines()]
    assert shown[:2] == plain[:2]
    assert [line for line in shown[3:] if line] == plain[3:]


def test_rich_takes_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    fp.summary(Marked()).show()
    assert "heads.[red]<b>&" in capsys.readouterr().out.replace("\n", "")


def test_without_rich_there_is_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    table = fp.summary(LeNet())
    assert "44,426" in str(table)
    assert "44,426" in table._repr_html_()
    with pytest.raises(ImportError) as caught:
        table.show()
    assert str(caught.value) == (
        "Summary.show() prints with rich, which is not installed: "
        "pip install 'funcparams[examples]'.\n  print(summary) shows the table without it."
    )


class Cells(html.parser.HTMLParser):
    """The texts of a table's cells, row by row, and whether every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "br":
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def cells(table: Summary) -> list[list[str]]:
    parser = Cells()
    parser.feed(table._repr_html_())
    parser.close()
    assert parser.open == []
    return parser.rows


def test_html_has_the_same_cells() -> None:
    table = fp.summary(Mixed())
    head, *body, totals = cells(table)
    assert " ".join(head).split() == str(table).splitlines()[1].split()
    assert [" ".join(row).split() for row in body] == [
        line.split() for line in str(table).splitlines()[3:-3]
    ]
    assert totals == ["Parameters: 78 (77 trainable, 1 not)Buffers:    5Bytes:      330"]


def test_html_is_escaped() -> None:
    table = fp.summary(Marked())
    assert cells(table)[1][0] == "heads.[red]<b>&.weight"
    assert "<b>" not in table._repr_html_()


# Scale


def never(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    raise AssertionError("an initializer ran")


class Block(fp.Module):
    """A layer of a 405-billion-parameter model: grouped attention and a gated MLP."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        for name, shape in {
            "attn_norm": (width,), "q": (width, width), "k": (heads, width), "v": (heads, width),
            "o": (width, width), "mlp_norm": (width,), "gate": (hidden, width),
            "up": (hidden, width), "down": (width, hidden),
        }.items():  # fmt: skip
            setattr(self, name, fp.param(shape, never, jnp.bfloat16))


class Giant(fp.Module):
    def __init__(self) -> None:
        self.wte = fp.param((128_256, 16_384), never, jnp.bfloat16)
        self.layers = [Block(16_384, 1_024, 53_248) for _ in range(126)]
        self.norm = fp.param((16_384,), never, jnp.bfloat16)
        self.head = fp.param((128_256, 16_384), never, jnp.bfloat16)


def test_400_billion_parameters_take_no_memory() -> None:
    def measure() -> None:
        model = Giant()  # a new one: nothing is cached yet
        abstract = model.abstract()
        table = fp.summary(model)
        count = sum(declared.size for declared in model.parameters())
        assert len(jax.tree.leaves(abstract)) == len(table.rows) == 1_137
        assert table.parameters == count == 405_853_388_800
        assert table.bytes == 2 * count

    gc.collect()  # what other tests have left would go in between
    arrays = len(jax.live_arrays())
    measure()
    assert len(jax.live_arrays()) <= arrays
    tracemalloc.start()
    measure()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20
    assert "Parameters: 405,853,388,800\n" in str(fp.summary(Giant(), depth=1))
