"""Recurrent networks: their programs, lengths, states, dropout, and what they refuse."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcparams as fp
from benchmarks import handwritten
from funcparams import nn
from funcparams.testing import assert_same_program, operation_counts

KEY = jax.random.key(0)
LAYERS = [nn.RNN, nn.LSTM, nn.GRU]

every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.RandomState(seed).randn(*shape), jnp.float32)


def close(ours: Any, wanted: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), ours, wanted)


def loss(run: Any) -> Any:
    def squares(params: Any, *inputs: Any) -> Any:
        return sum(jnp.square(leaf).sum() for leaf in jax.tree.leaves(run(params, *inputs)))

    return squares


# The program, against the same by hand


def test_an_lstm_is_the_one_by_hand() -> None:
    model, x = nn.LSTM(4, 3), normal(8, 2, 4)
    params = model.init(KEY)
    close(model.apply(params, x), handwritten.lstm(params, x))
    runs = (model.apply, handwritten.lean_lstm, handwritten.lstm)
    ours, by_hand, simple = (jax.grad(loss(run), (0, 1)) for run in runs)
    close(jax.jit(ours)(params, x), jax.jit(simple)(params, x))
    assert_same_program(model.apply, handwritten.lstm, params, x)
    assert_same_program(ours, by_hand, params, x)


def inside_scans(function: Any, *args: Any) -> list[str]:
    jaxpr = jax.make_jaxpr(function)(*args)

    def walk(jaxpr: Any, inside: bool) -> list[str]:
        found = []
        for equation in jaxpr.eqns:
            name = equation.primitive.name
            found += [name] if inside else []
            for inner in jax.tree.leaves(
                list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns")
            ):
                if hasattr(inner, "eqns"):
                    found += walk(getattr(inner, "jaxpr", inner), inside or name == "scan")
        return found

    return walk(jaxpr.jaxpr, False)


@pytest.mark.parametrize("steps", [5, 50])
def test_no_step_transposes_a_weight(steps: int) -> None:
    model = nn.LSTM(4, 3, num_layers=2, bidirectional=True)
    params, x = model.init(KEY), normal(steps, 2, 4)
    found = operation_counts(model.apply, params, x)
    assert found["stablehlo.while"] == 4
    # Many steps take the transpose, made once for all of them.
    assert found["stablehlo.transpose"] == (4 if steps == 50 else 0)
    forward, gradient = (
        inside_scans(function, params, x) for function in (model.apply, jax.grad(loss(model.apply)))
    )
    assert forward.count("dot_general") == 4
    assert gradient.count("dot_general") == 8
    assert "transpose" not in forward
    assert "transpose" not in gradient


def test_one_sequence_alone_needs_no_transpose() -> None:
    model = nn.LSTM(4, 3)
    found = operation_counts(model.apply, model.init(KEY), normal(50, 1, 4))
    assert found["stablehlo.transpose"] == 0


@every_layer
@pytest.mark.parametrize("lengths", [None, (3, 2)])
def test_the_program_does_not_grow_with_the_sequence(layer: Any, lengths: Any) -> None:
    model = layer(4, 3, num_layers=2, bidirectional=True)
    params = model.init(KEY)
    given = None if lengths is None else np.array(lengths)

    def run(params: Any, x: Any) -> Any:
        return model.apply(params, x, lengths=given)

    for function in (run, jax.grad(loss(run))):
        short, long = (
            operation_counts(function, params, jnp.ones((size, 2, 4))) for size in (9, 90)
        )
        assert short == long


def test_the_gradient_of_a_recurrent_weight_is_one_product() -> None:
    model = nn.LSTM(4, 3)
    jaxpr = jax.make_jaxpr(jax.grad(loss(model.apply)))(model.init(KEY), normal(5, 2, 4))

    def products(jaxpr: Any) -> list[Any]:
        return [each for each in jaxpr.eqns if each.primitive.name == "dot_general"]

    scans = [each for each in jaxpr.jaxpr.eqns if each.primitive.name == "scan"]
    assert [len(products(each.params["jaxpr"].jaxpr)) for each in scans] == [1, 1]
    shapes = [each.outvars[0].aval.shape for each in products(jaxpr.jaxpr)]
    assert shapes.count((12, 3)) + shapes.count((3, 12)) == 1


# Derivatives


@pytest.mark.parametrize(
    "model",
    [
        nn.RNN(2, 3),
        nn.GRU(2, 3, bias=False),
        nn.GRU(2, 3, bidirectional=True),
        nn.LSTM(2, 3, proj_size=2, num_layers=2),
    ],
    ids=repr,
)
def test_derivatives_forward_and_backward_agree(model: Any) -> None:
    given = model.init(KEY), normal(4, 2)
    along = jax.tree.map(lambda a: normal(*a.shape, seed=1), given)
    squares = loss(model.apply)

    @jax.jit
    def derivatives(given: Any) -> Any:
        products = jax.tree.map(
            lambda a, b: (a * b).sum(), jax.grad(squares, (0, 1))(*given), along
        )
        step = jax.tree.map(lambda a: a / 100, along)
        ahead = squares(*jax.tree.map(jnp.add, given, step))
        behind = squares(*jax.tree.map(jnp.subtract, given, step))
        forward = jax.jvp(squares, given, along)[1]
        return forward, sum(jax.tree.leaves(products)), 50 * (ahead - behind)

    forward, backward, difference = derivatives(given)
    np.testing.assert_allclose(forward, backward, rtol=1e-4)
    np.testing.assert_allclose(forward, difference, rtol=2e-2)


def test_second_derivatives() -> None:
    model, x = nn.LSTM(2, 2), normal(8, 2, 2)
    params = model.init(KEY)

    both = (
        jax.jit(jax.jacfwd(jax.grad(loss(run))))(params, x)
        for run in (model.apply, handwritten.lstm)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), *both)


# Lengths


@every_layer
def test_lengths_cut_each_sequence_for_itself(layer: Any) -> None:
    model = layer(4, 3, num_layers=2, bidirectional=True, batch_first=True)
    params, x, lengths = model.init(KEY), normal(3, 4, 4), [2, 4, 1]
    compiled = jax.jit(model.apply)
    y, final = compiled(params, x, lengths=jnp.array(lengths))
    for index, length in enumerate(lengths):
        alone, last = compiled(params, x[index, :length])
        close(y[index, :length], alone)
        assert not np.asarray(y[index, length:]).any()
        close(jax.tree.map(lambda a: a[:, index], final), last)  # noqa: B023


@every_layer
def test_what_stands_behind_the_end_does_not_matter(layer: Any) -> None:
    model, lengths = layer(2, 3, bidirectional=True), jnp.array([2, 4])
    params, x = model.init(KEY), normal(4, 2, 2)
    broken = x.at[2:, 0].set(jnp.nan)

    def run(params: Any, x: Any) -> Any:
        return model.apply(params, x, lengths=lengths)

    close(run(params, broken), run(params, x))
    gradients = jax.jit(jax.grad(loss(run), (0, 1)))
    close(gradients(params, broken), gradients(params, x))
    assert not np.asarray(gradients(params, broken)[1][2:, 0]).any()


def test_a_sequence_of_no_steps_keeps_its_state_and_one_too_long_is_whole() -> None:
    model = nn.GRU(2, 3)
    params, x, h = model.init(KEY), normal(4, 2, 2), normal(1, 2, 3)
    y, final = model.apply(params, x, h, lengths=np.array([0, 4]))
    assert not np.asarray(y[:, 0]).any()
    np.testing.assert_array_equal(final[0, 0], h[0, 0])
    compiled = jax.jit(model.apply)
    close(
        compiled(params, x, h, lengths=np.array([-1, 9])),
        compiled(params, x, h, lengths=np.array([0, 4])),
    )


def test_lengths_of_small_integers_do_not_overflow() -> None:
    model = nn.RNN(1, 1)
    params = model.init(KEY)
    y, _ = model.apply(params, jnp.ones((300, 1, 1)), lengths=np.array([127], np.int8))
    assert np.flatnonzero(np.asarray(y)).max() == 126


def test_one_sequence_has_one_length_and_maps() -> None:
    model, lengths = nn.LSTM(2, 3), jnp.array([3, 1])
    params, x = model.init(KEY), normal(2, 4, 2)
    mapped = jax.vmap(lambda x, n: model.apply(params, x, lengths=n))(x, lengths)
    y, final = model.apply(params, x.swapaxes(0, 1), lengths=lengths)
    close(mapped[0], y.swapaxes(0, 1))
    close(mapped[1], jax.tree.map(lambda a: a.swapaxes(0, 1), final))


# States, cells and dropout


@every_layer
def test_a_sequence_in_two_halves_is_the_whole(layer: Any) -> None:
    model, x = layer(4, 3, num_layers=2), normal(6, 2, 4)
    params = model.init(KEY)
    y, final = model.apply(params, x)
    first, state = model.apply(params, x[:2])
    second, last = model.apply(params, x[2:], state)
    close((jnp.concatenate([first, second]), last), (y, final))


@every_layer
def test_a_cell_in_a_loop_is_the_layer(layer: Any) -> None:
    model, cell = layer(4, 3), getattr(nn, f"{layer.__name__}Cell")(4, 3)
    params, x = model.init(KEY), normal(5, 2, 4)
    y, _ = model.apply(params, x)
    of_cell = {name.removesuffix("_l0"): value for name, value in params.items()}
    state = None
    for step in range(5):
        state = cell.apply(of_cell, x[step], state)
        close(state[0] if isinstance(state, tuple) else state, y[step])


@every_layer
def test_dropout_stands_between_the_layers(layer: Any) -> None:
    model, x = layer(4, 3, num_layers=3, dropout=0.25), normal(5, 2, 4)
    params = model.init(KEY)
    y, last = model.apply(params, x, key=KEY, training=True)
    view = model.bind(params, key=KEY, training=True)
    for index in range(3):
        if index:
            kept = jax.random.bits(view.next_key(), x.shape, jnp.uint32) < np.uint32(0.75 * 2**32)
            x = jnp.where(kept, x / 0.75, 0)
        own = {
            name.replace(f"_l{index}", "_l0"): value
            for name, value in params.items()
            if name.endswith(f"_l{index}")
        }
        x, final = layer(4 if index == 0 else 3, 3).apply(own, x)
        close(jax.tree.map(lambda a: a[index], last), jax.tree.map(lambda a: a[0], final))  # noqa: B023
    close(y, x)


def test_dropout_needs_a_key_in_training_only() -> None:
    model, x = nn.LSTM(2, 3, num_layers=2, dropout=0.5), normal(4, 1, 2)
    params = model.init(KEY)
    with pytest.raises(fp.KeyRequiredError, match=r"LSTM \(LSTM\) draws random numbers"):
        model.apply(params, x, training=True)
    without = nn.LSTM(2, 3, num_layers=2)
    close(without.apply(params, x, training=True), model.apply(params, x))
    with jax.debug_key_reuse(True):
        model.apply(params, x, key=KEY, training=True)


# What is refused


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.LSTM(0, 3), "LSTM(input_size=0): expected an integer >= 1."),
        (lambda: nn.GRU(4, 0), "GRU(hidden_size=0): expected an integer >= 1."),
        (lambda: nn.RNN(4, 3, 0), "RNN(num_layers=0): expected an integer >= 1."),
        (lambda: nn.RNNCell(4, -1), "RNNCell(hidden_size=-1): expected an integer >= 0."),
        (lambda: nn.LSTMCell(4.0, 1), "LSTMCell(input_size=4.0): expected an integer >= 0."),
        (
            lambda: nn.LSTM(4, 3, dropout=2),
            "LSTM(dropout=2): expected a probability, a number from 0 to 1.",
        ),
        (
            lambda: nn.GRU(4, 3, dropout=0.5),
            "GRU(dropout=0.5, num_layers=1): dropout acts between layers, so with one it would do "
            "nothing.\n  Give num_layers=2 or more, or put an nn.Dropout after this layer.",
        ),
        (lambda: nn.LSTM(4, 3, proj_size=-1), "LSTM(proj_size=-1): expected an integer >= 0."),
        (
            lambda: nn.LSTM(4, 3, proj_size=3),
            "LSTM(proj_size=3, hidden_size=3): proj_size has to be smaller than hidden_size; 0 is "
            "no projection.",
        ),
        (
            lambda: nn.RNN(4, 3, nonlinearity="sigmoid"),
            "RNN(nonlinearity='sigmoid'): expected one of 'tanh', 'relu'.",
        ),
        (
            lambda: nn.RNNCell(4, 3, nonlinearity="rely"),
            "RNNCell(nonlinearity='rely'): expected one of 'tanh', 'relu'; did you mean 'relu'?.",
        ),
    ],
)
def test_arguments_that_are_refused(make: Any, text: str) -> None:
    with pytest.raises(nn.ArgumentError) as error:
        make()
    assert str(error.value) == text


X = jnp.ones((5, 2, 4))
H = jnp.ones((1, 2, 3))


@pytest.mark.parametrize(
    ("model", "inputs", "lengths", "text"),
    [
        (
            nn.LSTM(4, 3),
            (jnp.ones((5, 2, 3)),),
            None,
            "LSTM: expected an input of shape (L, N, input_size=4), or (L, input_size=4) without "
            "a batch axis, got shape (5, 2, 3).",
        ),
        (
            nn.GRU(4, 3, batch_first=True),
            (jnp.ones(4),),
            None,
            "GRU: expected an input of shape (N, L, input_size=4), or (L, input_size=4) without "
            "a batch axis, got shape (4,).",
        ),
        (
            nn.RNN(4, 3, batch_first=True),
            (jnp.ones((2, 0, 4)),),
            None,
            "RNN: expected a sequence of one step or more, got shape (2, 0, 4).",
        ),
        (
            nn.RNN(4, 3, bidirectional=True),
            (X, H),
            None,
            "RNN: expected h_0 of shape (2, 2, 3) beside this input, one entry for each layer and "
            "direction, got shape (1, 2, 3).",
        ),
        (
            nn.GRU(4, 3),
            (X[:, 0], H),
            None,
            "GRU: expected h_0 of shape (1, 3) beside this input, one entry for each layer and "
            "direction, got shape (1, 2, 3).",
        ),
        (
            nn.LSTM(4, 3, proj_size=2),
            (X, (H[..., :2], H[..., :2])),
            None,
            "LSTM: expected c_0 of shape (1, 2, 3) beside this input, one entry for each layer "
            "and direction, got shape (1, 2, 2).",
        ),
        (
            nn.LSTM(4, 3),
            (X, H),
            None,
            "LSTM: expected hx to be a pair (h, c), got an array of shape (1, 2, 3).",
        ),
        (nn.LSTM(4, 3), (X, [H]), None, "LSTM: expected hx to be a pair (h, c), got 1 of them."),
        (
            nn.LSTM(4, 3),
            (X,),
            [5],
            "LSTM: expected lengths of shape (2,), one for each sequence, got shape (1,).",
        ),
        (
            nn.LSTM(4, 3),
            (X,),
            [5, 6],
            "LSTM: expected lengths from 0 to 5, the length of the input, got [5, 6].",
        ),
        (
            nn.LSTM(4, 3),
            (X,),
            jnp.array([-1, 2]),
            "LSTM: expected lengths from 0 to 5, the length of the input, got [-1, 2].",
        ),
    ],
)
def test_inputs_that_are_refused(model: Any, inputs: Any, lengths: Any, text: str) -> None:
    with pytest.raises(nn.InputError) as error:
        model.apply(model.init(KEY), *inputs, lengths=lengths)
    assert str(error.value) == text


def test_cells_check_their_inputs() -> None:
    model = nn.LSTMCell(4, 3)
    params, x, h = model.init(KEY), jnp.ones((2, 4)), jnp.ones((2, 3))
    with pytest.raises(nn.InputError) as error:
        model.apply(params, jnp.ones((1, 2, 4)))
    assert str(error.value) == (
        "LSTMCell: expected an input of shape (N, input_size=4), or (input_size=4,) without a "
        "batch axis, got shape (1, 2, 4)."
    )
    with pytest.raises(nn.InputError) as error:
        model.apply(params, x, (h, h[0]))
    assert str(error.value) == (
        "LSTMCell: expected c of shape (2, 3) beside this input, got shape (3,)."
    )
    with pytest.raises(nn.InputError, match="LSTMCell: expected hx to be a pair"):
        model.apply(params, x, h)
    with pytest.raises(nn.InputTypeError, match=r"LSTMCell: the h is bfloat16\[2, 3\]"):
        model.apply(params, x, (h.astype(jnp.bfloat16), h))


@every_layer
def test_dtypes_that_are_refused(layer: Any) -> None:
    net = nn.Sequential(nn.Identity(), layer(4, 3))
    params, x = net.init(KEY), jnp.ones((5, 2, 4))
    name = rf"^1 \({layer.__name__}\): "
    with pytest.raises(nn.InputTypeError, match=rf"{name}the input is float16\[5, 2, 4\]"):
        net.apply(params, x.astype(jnp.float16))
    model = net[1]
    view = model.bind(params["1"])
    state = (H.astype(jnp.float16),) * 2 if layer is nn.LSTM else H.astype(jnp.float16)
    with pytest.raises(nn.InputTypeError, match=r"the h_0 is float16\[1, 2, 3\]"):
        view(x, state)
    with pytest.raises(nn.InputTypeError, match=r"expected lengths to be integers, got float32\[2"):
        view(x, lengths=jnp.ones(2))
