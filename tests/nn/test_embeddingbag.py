"""`EmbeddingBag`: bags of one length and of many, empty ones, what is left out, and wrong rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

from funcparams import nn

KEY = jax.random.key(0)
TABLE = np.random.RandomState(0).randn(6, 3).astype(np.float32)
IDS = np.array([0, 4, 2, 2, 5, 1, 2])
OFFSETS = np.array([0, 3, 3, 4])
BAGS = [IDS[low:high] for low, high in zip(OFFSETS, [*OFFSETS[1:], 7], strict=True)]
REDUCED = {"sum": np.sum, "mean": np.mean, "max": np.max}


def by_loops(mode: str, bags: Any, left_out: Any = ()) -> Any:
    kept = [[index for index in bag if index not in left_out] for bag in bags]
    rows = [REDUCED[mode](TABLE[bag], 0) if bag else np.zeros(3) for bag in kept]
    return np.stack(rows)


def gradient(model: Any, *inputs: Any, table: Any = TABLE) -> Any:
    def loss(params: Any) -> Any:
        return model.apply(params, *inputs).sum()

    return jax.grad(loss)({"weight": jnp.asarray(table)})["weight"]


@pytest.mark.parametrize("mode", REDUCED)
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_bags_of_many_lengths(mode: str, padding_idx: int | None) -> None:
    model = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=padding_idx)
    y = model.apply({"weight": TABLE}, IDS, OFFSETS)
    np.testing.assert_allclose(y, by_loops(mode, BAGS, [padding_idx]), rtol=1e-6)
    # The last offset may say where the last bag ends, also before the input does.
    ended = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=padding_idx, include_last_offset=True)
    whole = ended.apply({"weight": TABLE}, IDS, np.append(OFFSETS, 7))
    np.testing.assert_allclose(whole, y)
    cut = ended.apply({"weight": TABLE}, IDS, np.append(OFFSETS, 5))
    bags = [*BAGS[:-1], BAGS[-1][:1]]
    np.testing.assert_allclose(cut, by_loops(mode, bags, [padding_idx]), rtol=1e-6)


@pytest.mark.parametrize("mode", REDUCED)
def test_bags_of_one_length_are_those_with_offsets(mode: str) -> None:
    ids = np.array([[0, 1, 2], [2, 2, 2], [3, 2, 5]], np.uint8)
    for padding_idx in (None, 2):
        model = nn.EmbeddingBag(6, 3, mode=mode, padding_idx=padding_idx)
        y = model.apply({"weight": TABLE}, ids)
        np.testing.assert_allclose(y, by_loops(mode, ids, [padding_idx]), rtol=1e-6)
        flat = (ids.ravel(), np.array([0, 3, 6]))
        np.testing.assert_allclose(model.apply({"weight": TABLE}, *flat), y, rtol=1e-6)
        np.testing.assert_allclose(gradient(model, ids), gradient(model, *flat), rtol=1e-6)


@pytest.mark.parametrize("mode", REDUCED)
def test_bags_of_nothing_are_zeros_and_have_finite_gradients(mode: str) -> None:
    model = nn.EmbeddingBag(6, 3, mode=mode)
    empty = np.zeros((2, 0), int)
    for inputs in ((empty,), (empty[0], np.array([0, 0]))):
        np.testing.assert_array_equal(model.apply({"weight": TABLE}, *inputs), np.zeros((2, 3)))
        assert not gradient(model, *inputs).any()
    assert model.apply({"weight": TABLE}, np.array([], int), np.array([], int)).shape == (0, 3)
    inputs = (IDS, np.array([0, 7]))
    np.testing.assert_array_equal(model.apply({"weight": TABLE}, *inputs)[1], np.zeros(3))
    assert np.isfinite(gradient(model, *inputs)).all()


def test_what_stands_before_the_first_offset_is_in_no_bag() -> None:
    for mode in REDUCED:
        y = nn.EmbeddingBag(6, 3, mode=mode).apply({"weight": TABLE}, IDS, np.array([2, 4]))
        np.testing.assert_allclose(y, by_loops(mode, [IDS[2:4], IDS[4:]]), rtol=1e-6)


@pytest.mark.parametrize("offsets", [None, np.array([0, 3])])
def test_the_gradient_of_a_maximum_is_that_of_the_first(offsets: Any) -> None:
    table = np.array([[1.0, 5.0], [1.0, 3.0], [0.0, 5.0]], np.float32)
    ids = np.array([[2, 1, 0], [1, 1, 2]])
    model = nn.EmbeddingBag(3, 2, mode="max")
    inputs = (ids,) if offsets is None else (ids.ravel(), offsets)
    np.testing.assert_array_equal(gradient(model, *inputs, table=table), [[0, 0], [2, 0], [0, 2]])


def test_the_padding_row_starts_at_zero_and_is_left_out() -> None:
    model = nn.EmbeddingBag(6, 3, padding_idx=-4)
    assert model.padding_idx == 2
    np.testing.assert_array_equal(
        model.init(KEY)["weight"], nn.Embedding(6, 3, padding_idx=2).init(KEY)["weight"]
    )
    assert not gradient(model, IDS, OFFSETS)[2].any()


def test_factors_and_their_gradients() -> None:
    model = nn.EmbeddingBag(6, 3, mode="sum", padding_idx=2)
    factors = jnp.arange(1.0, 8.0)

    def total(factors: Any, *inputs: Any) -> Any:
        return model.apply({"weight": TABLE}, *inputs, per_sample_weights=factors).sum()

    kept = np.where(IDS == 2, 0, TABLE[IDS].sum(1))
    value, of_factors = jax.value_and_grad(total)(factors, IDS, OFFSETS)
    np.testing.assert_allclose(value, (kept * factors).sum(), rtol=1e-5)
    np.testing.assert_allclose(of_factors, kept, rtol=1e-6)
    value, of_factors = jax.value_and_grad(total)(factors[:6].reshape(2, 3), IDS[:6].reshape(2, 3))
    np.testing.assert_allclose(value, (kept * factors)[:6].sum(), rtol=1e-5)
    np.testing.assert_allclose(of_factors.ravel(), kept[:6], rtol=1e-6)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_gradients_by_frequency_divide_by_the_rows_own_count(mode: str) -> None:
    ids = np.array([[0, 1, 1], [1, 2, 2]])
    model = nn.EmbeddingBag(6, 3, mode=mode, scale_grad_by_freq=True)
    plain = nn.EmbeddingBag(6, 3, mode=mode)
    np.testing.assert_array_equal(
        model.apply({"weight": TABLE}, ids), plain.apply({"weight": TABLE}, ids)
    )
    wanted = np.array([1, 1, 1, 0, 0, 0]) / (3 if mode == "mean" else 1)
    np.testing.assert_allclose(gradient(model, ids)[:, 0], wanted, rtol=1e-6)
    flat = (ids.ravel(), np.array([0, 3]))
    np.testing.assert_allclose(gradient(model, *flat)[:, 0], wanted, rtol=1e-6)


def test_long_rows_are_shortened() -> None:
    table = jnp.array([[3.0, 4.0], [0.3, 0.4]])
    model = nn.EmbeddingBag(2, 2, max_norm=1.0, mode="sum")
    y = model.apply({"weight": table}, jnp.array([[0, 1], [0, 0]]))
    np.testing.assert_allclose(y, [[0.9, 1.2], [1.2, 1.6]], rtol=1e-6)


@pytest.mark.parametrize("mode", REDUCED)
def test_what_is_no_row_makes_its_bag_nan_and_gets_no_gradient(mode: str) -> None:
    model = nn.EmbeddingBag(6, 3, mode=mode)
    for wrong in (6, -1):
        ids = np.array([0, 1, 2, wrong])
        for inputs in ((ids.reshape(2, 2),), (ids, np.array([0, 2]))):
            y = model.apply({"weight": TABLE}, *inputs)
            np.testing.assert_array_equal(np.isnan(y).all(1), [False, True])
            assert np.isfinite(gradient(model, *inputs)).all()


def test_checkify_finds_what_is_no_row() -> None:
    model = nn.EmbeddingBag(6, 3)
    checked = jax.jit(checkify.checkify(model.apply, errors=checkify.index_checks))
    error, _ = checked({"weight": TABLE}, jnp.array([[0, 5]]))
    assert error.get() is None
    error, _ = checked({"weight": TABLE}, jnp.array([[0, 6]]))
    assert "out-of-bounds indexing" in error.get()


def test_sums_of_half_precision_are_taken_in_float32() -> None:
    model = nn.EmbeddingBag(1, 1, mode="sum").astype(jnp.bfloat16)
    params = {"weight": jnp.ones((1, 1), jnp.bfloat16)}
    ids = np.zeros(1000, int)
    for inputs in ((ids[None],), (ids, np.array([0]))):
        y = model.apply(params, *inputs)
        assert y.dtype == jnp.bfloat16
        assert y == 1000  # a sum in bfloat16 would stop at 256
    mean = nn.EmbeddingBag(1, 1).astype(jnp.bfloat16)
    assert mean.apply(params, ids, np.array([0])) == 1


def test_from_pretrained_is_frozen_unless_it_is_asked_not_to_be() -> None:
    model = nn.EmbeddingBag.from_pretrained(
        TABLE, mode="max", include_last_offset=True, padding_idx=0
    )
    np.testing.assert_array_equal(model.init(None)["weight"], TABLE)
    assert (model.mode, model.include_last_offset, model.padding_idx) == ("max", True, 0)
    assert not gradient(model, IDS, np.array([0, 7])).any()
    free = nn.EmbeddingBag.from_pretrained(TABLE, freeze=False)
    assert gradient(free, IDS, OFFSETS).any()


def test_definitions_show_what_pytorch_shows() -> None:
    model = nn.EmbeddingBag(6, 3, 1.0, 1.0, True, "sum", padding_idx=1)
    assert repr(model) == (
        "EmbeddingBag(6, 3, max_norm=1.0, norm_type=1.0, scale_grad_by_freq=True, mode='sum', "
        "padding_idx=1)"
    )
    assert model == nn.EmbeddingBag(6, 3, 1.0, 1.0, True, "sum", padding_idx=1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: nn.EmbeddingBag(5, 3, mode="men"),
            "EmbeddingBag(mode='men'): expected one of 'sum', 'mean', 'max'; did you mean 'mean'?.",
        ),
        (
            lambda: nn.EmbeddingBag(5, 3, mode="max", scale_grad_by_freq=True),
            "EmbeddingBag(scale_grad_by_freq=True, mode='max'): a maximum's gradient cannot be "
            "divided by frequency; expected mode 'sum' or 'mean'.",
        ),
        (
            lambda: nn.EmbeddingBag(5, 3, padding_idx=5),
            "EmbeddingBag(num_embeddings=5, padding_idx=5): padding_idx must be within "
            "num_embeddings.",
        ),
        (
            lambda: nn.EmbeddingBag(5, 3, padding_idx=-6),
            "EmbeddingBag(padding_idx=-6): expected an integer >= -5.",
        ),
        (
            lambda: nn.EmbeddingBag.from_pretrained(TABLE[0]),
            "EmbeddingBag.from_pretrained(embeddings): expected a table of two axes, got shape "
            "(3,).",
        ),
    ],
)
def test_arguments_that_are_refused(make, text) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("options", "inputs", "text"),
    [
        (
            {},
            (np.zeros((1, 2, 3), int),),
            "EmbeddingBag: expected an input of shape (B, L), or (N,) with offsets, got shape "
            "(1, 2, 3).",
        ),
        (
            {},
            (IDS,),
            "EmbeddingBag: expected offsets, which say where bags start, beside an input of shape "
            "(7,), got none.",
        ),
        (
            {},
            (IDS[None], OFFSETS),
            "EmbeddingBag: expected no offsets beside an input of shape (1, 7), got offsets.",
        ),
        (
            {},
            (IDS, OFFSETS[None]),
            "EmbeddingBag: expected offsets of shape (B,), got shape (1, 4).",
        ),
        (
            {"include_last_offset": True},
            (IDS, OFFSETS[:0]),
            "EmbeddingBag: expected offsets of shape (B + 1,), one number at least, got shape "
            "(0,).",
        ),
        (
            {},
            (IDS, OFFSETS, np.ones(7, np.float32)),
            "EmbeddingBag: per_sample_weights are for mode='sum', and the mode is 'mean'.",
        ),
        (
            {"mode": "sum"},
            (IDS, OFFSETS, np.ones(6, np.float32)),
            "EmbeddingBag: expected per_sample_weights of the input's shape (7,), got shape (6,).",
        ),
    ],
)
def test_inputs_that_are_refused(options, inputs, text) -> None:
    with pytest.raises(nn.InputError) as error:
        nn.EmbeddingBag(6, 3, **options).apply({"weight": TABLE}, *inputs)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ((TABLE,), "EmbeddingBag: expected integers to look up, got float32[6, 3]."),
        (
            (IDS, np.ones(2, np.float32)),
            "EmbeddingBag: expected integers for offsets, got float32[2].",
        ),
        (
            (IDS, OFFSETS, np.ones(7, np.float16)),
            "EmbeddingBag: the per_sample_weights is float16[7], and the parameters are float32",
        ),
    ],
)
def test_dtypes_that_are_refused(inputs, text) -> None:
    with pytest.raises(nn.InputTypeError) as error:
        nn.EmbeddingBag(6, 3, mode="sum").apply({"weight": TABLE}, *inputs)
    assert str(error.value).startswith(text)
