"""Other people's tools on a tree that holds references: ties hold, and shared arrays count once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import orbax.checkpoint as ocp
import pytest
from jax import export

import funcparams as fp
from tests.models import Chain, Language, Linear, filled, nested, same_arrays

KEY = jax.random.key(0)
IDS = jnp.array([0, 3])
MODEL = Chain(Language(), Linear(5, 2))
TIED = jax.tree.map(lambda leaf: 0.3 * leaf, MODEL.init(KEY))
REF = fp.Ref("..wte.weight")


def loss(params: Any) -> jax.Array:
    return ((MODEL.apply(params, IDS) - 1.0) ** 2).mean()


def check_ties(params: Any) -> None:
    """One leaf for the shared array, a reference at its other place, and it binds."""
    assert jax.tree.structure(params) == jax.tree.structure(TIED)
    assert params["0"]["head"]["weight"] == REF
    assert len(jax.tree.leaves(params)) == 5
    view: Any = MODEL.bind(params)
    assert getattr(view, "0").head.weight is getattr(view, "0").wte.weight


# optax

apply_updates: Any = optax.apply_updates  # its own type knows nothing of dicts
SHARED_ONLY = "0.head.weight"  # the name that is a reference: it means the owner's array


def labels(params: Any) -> Any:
    return fp.label(params, {SHARED_ONLY: "slow"}, default="fast")


def decayed(params: Any) -> Any:
    return fp.mask(params, "**.weight")


OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "sgd": lambda: optax.sgd(0.05, momentum=0.9),
    "adam": lambda: optax.adam(0.05),
    "adamw with a mask": lambda: optax.adamw(0.05, mask=decayed),
    "masked": lambda: optax.chain(
        optax.masked(optax.clip(0.5), fp.mask(TIED, SHARED_ONLY)), optax.sgd(0.05)
    ),
    "multi_transform": lambda: optax.multi_transform(
        {"slow": optax.sgd(0.01), "fast": optax.adam(0.05)}, labels(TIED)
    ),
    "partition": lambda: optax.partition(
        {"slow": optax.sgd(0.01), "fast": optax.adam(0.05)}, labels
    ),
    "adafactor": lambda: optax.adafactor(0.05, min_dim_size_to_factor=2),
    "muon": lambda: optax.contrib.muon(0.05),
    "MultiSteps": lambda: optax.MultiSteps(optax.adam(0.05), 2).gradient_transformation(),
    "schedule_free": lambda: optax.contrib.schedule_free(optax.sgd(0.05), 0.05, b1=0.9),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adamw)(
        learning_rate=optax.linear_schedule(0.05, 0.01, 5)
    ),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(0.05), 3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optax(name: str) -> None:
    """A few steps: the tree keeps its form, the loss falls, the shared array is one slot."""
    optimizer = OPTIMIZERS[name]()
    params, state = TIED, optimizer.init(TIED)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        grads = jax.grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        return apply_updates(params, updates), state

    structure = jax.tree.structure(state)
    for _ in range(6):
        params, state = step(params, state)
    assert jax.tree.structure(state) == structure
    check_ties(params)
    assert loss(params) < loss(TIED)
    assert not np.array_equal(params["0"]["wte"]["weight"], TIED["0"]["wte"]["weight"])
    # Every tree in the optimiser's state has at most one slot for each array.
    slots = [leaf for leaf in jax.tree.leaves(state) if jnp.shape(leaf) == (5, 3)]
    trees = [leaf for leaf in jax.tree.leaves(state) if jnp.shape(leaf) == (3, 3)]
    assert len(slots) <= max(len(trees), 1)


def test_optax_counts_the_shared_array_once() -> None:
    state = optax.adam(0.1).init(TIED)
    assert sum(jnp.size(leaf) for leaf in jax.tree.leaves(state)) == 1 + 2 * (15 + 9 + 3 + 10 + 2)
    assert jnp.allclose(
        optax.tree.norm(TIED), jnp.sqrt(sum((leaf**2).sum() for leaf in fp.flatten(TIED).values()))
    )


def test_one_sgd_step_is_the_step_of_the_summed_gradient() -> None:
    optimizer = optax.sgd(0.1)
    grads = jax.grad(loss)(TIED)
    updates, _ = optimizer.update(grads, optimizer.init(TIED), TIED)
    params = apply_updates(TIED, updates)
    untied, free = fp.untie(MODEL, TIED, SHARED_ONLY)
    apart = jax.grad(lambda p: ((untied.apply(p, IDS) - 1.0) ** 2).mean())(free)
    total = apart["0"]["wte"]["weight"] + apart["0"]["head"]["weight"]
    expected = TIED["0"]["wte"]["weight"] - 0.1 * total
    np.testing.assert_allclose(params["0"]["wte"]["weight"], expected, rtol=1e-5, atol=1e-6)


def test_masks_by_the_references_name_reach_the_shared_array() -> None:
    decay = optax.chain(optax.masked(optax.add_decayed_weights(1.0), fp.mask(TIED, SHARED_ONLY)))
    zeros = jax.tree.map(jnp.zeros_like, TIED)
    updates: Any = decay.update(zeros, decay.init(TIED), TIED)[0]
    assert np.array_equal(updates["0"]["wte"]["weight"], TIED["0"]["wte"]["weight"])
    assert not updates["1"]["weight"].any()


def test_partition_freezes_under_optax() -> None:
    tuned, frozen = fp.partition(TIED, SHARED_ONLY)
    optimizer = optax.adamw(0.05)
    state = optimizer.init(tuned)
    grads = jax.grad(lambda t: loss(fp.combine(t, frozen)))(tuned)
    updates, _ = optimizer.update(grads, state, tuned)
    params = fp.combine(apply_updates(tuned, updates), frozen)
    check_ties(params)
    assert params["1"]["weight"] is TIED["1"]["weight"]
    assert not np.array_equal(params["0"]["wte"]["weight"], TIED["0"]["wte"]["weight"])


def test_optax_lookahead() -> None:
    optimizer = optax.lookahead(optax.sgd(0.05), sync_period=2, slow_step_size=0.5)
    params: Any = optax.LookaheadParams.init_synced(TIED)
    state = optimizer.init(params)
    for _ in range(4):
        grads = jax.grad(loss)(params.fast)
        updates, state = optimizer.update(grads, state, params)
        params = apply_updates(params, updates)
    check_ties(params.fast)
    check_ties(params.slow)
    assert loss(params.slow) < loss(TIED)


def test_optax_averages_and_schedule_free_parameters() -> None:
    average = optax.incremental_update(jax.tree.map(jnp.zeros_like, TIED), TIED, 0.5)
    check_ties(average)
    ema = optax.ema(0.9)
    check_ties(ema.update(TIED, ema.init(TIED))[0])
    optimizer = optax.contrib.schedule_free(optax.sgd(0.05), 0.05, b1=0.9)
    evaluated = optax.contrib.schedule_free_eval_params(optimizer.init(TIED), TIED)
    check_ties(evaluated)


# orbax


def test_orbax(tmp_path: Path) -> None:
    """Saved and restored against `abstract()`: the file has the shared array once."""
    params = jax.tree.map(lambda leaf: leaf + 1, TIED)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "params", params)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "params", MODEL.abstract())
        assert same_arrays(restored, params)
        check_ties(restored)
        bare: Any = checkpointer.restore(tmp_path / "params")  # a tree without references
    leaves = jax.tree.leaves(bare)
    assert sum(leaf.size for leaf in leaves) == sum(leaf.size for leaf in jax.tree.leaves(TIED))
    assert np.array_equal(MODEL.apply(bare, IDS), MODEL.apply(params, IDS))
    check_ties(fp.tie(MODEL, bare))


def test_orbax_with_optimizer_state(tmp_path: Path) -> None:
    state = {"params": TIED, "opt": optax.adam(0.1).init(TIED), "step": 3}
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(lambda: state))
    chex.assert_trees_all_equal(restored, state)
    check_ties(restored["params"])
    check_ties(restored["opt"][0].mu)


# chex


def test_chex() -> None:
    other = jax.tree.map(lambda leaf: leaf * (1 + 1e-7), TIED)
    chex.assert_trees_all_close(TIED, other)
    chex.assert_trees_all_equal(TIED, TIED)
    chex.assert_trees_all_equal_structs(TIED, other)
    chex.assert_trees_all_equal_shapes(TIED, other)
    chex.assert_trees_all_equal_shapes_and_dtypes(TIED, MODEL.abstract())
    chex.assert_trees_all_equal_dtypes(TIED, other)
    chex.assert_tree_all_finite(TIED)
    chex.assert_tree_has_only_ndarrays(TIED)
    chex.assert_tree_shape_prefix(jax.tree.map(lambda leaf: leaf[None], TIED), (1,))
    with pytest.raises(AssertionError):
        chex.assert_tree_all_finite(fp.update(TIED, {SHARED_ONLY: jnp.nan}))
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(TIED, fp.update(TIED, {SHARED_ONLY: 7.0}))


def test_chex_sees_a_lost_tie() -> None:
    _, free = fp.untie(MODEL, TIED, SHARED_ONLY)
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal_structs(TIED, free)


# jax.export


def test_export_with_a_tree_as_argument_and_result(tmp_path: Path) -> None:
    @jax.jit
    def step(params: Any, ids: Any) -> Any:
        grads = jax.grad(lambda p: ((MODEL.apply(p, ids) - 1.0) ** 2).mean())(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)

    exported = export.export(step)(MODEL.abstract(), jax.ShapeDtypeStruct(IDS.shape, IDS.dtype))
    file = tmp_path / "step.bin"
    file.write_bytes(exported.serialize())
    loaded = export.deserialize(bytearray(file.read_bytes()))
    params = loaded.call(TIED, IDS)
    check_ties(params)
    chex.assert_trees_all_close(params, step(TIED, IDS), rtol=1e-6)


def test_export_of_apply_with_symbolic_batch() -> None:
    (batch,) = export.symbolic_shape("batch")
    ids = jax.ShapeDtypeStruct((batch,), jnp.int32)
    exported = export.export(jax.jit(MODEL.apply))(MODEL.abstract(), ids)
    loaded = export.deserialize(exported.serialize())
    for size in (1, 4):
        x = jnp.zeros((size,), jnp.int32)
        np.testing.assert_allclose(loaded.call(TIED, x), MODEL.apply(TIED, x), rtol=1e-5)


# jax itself


def test_ravel_pytree() -> None:
    flat, unravel = jax.flatten_util.ravel_pytree(TIED)
    assert flat.shape == (39,)
    check_ties(unravel(flat))
    assert same_arrays(unravel(flat), TIED)
    slope = jax.grad(lambda v: loss(unravel(v)))(flat)
    chex.assert_trees_all_close(unravel(slope), jax.grad(loss)(TIED), rtol=1e-5)


def test_vmap_over_init_and_over_params() -> None:
    keys = jax.random.split(KEY, 3)
    stacked = jax.vmap(MODEL.init)(keys)
    assert stacked["0"]["head"]["weight"] == REF
    assert len(jax.tree.leaves(stacked)) == 5
    losses = jax.vmap(loss)(stacked)
    grads = jax.vmap(jax.grad(loss))(stacked)
    assert grads["0"]["head"]["weight"] == REF
    for index in range(3):
        one = jax.tree.map(lambda leaf, i=index: leaf[i], stacked)
        check_ties(one)
        assert same_arrays(one, MODEL.init(keys[index]))
        np.testing.assert_allclose(losses[index], loss(one), rtol=1e-5)


def test_scan_donation_and_tree_functions() -> None:
    def step(params: Any, _: Any) -> Any:
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, jax.grad(loss)(params)), loss(params)

    params, losses = jax.lax.scan(step, TIED, length=5)
    check_ties(params)
    assert losses[-1] < losses[0]
    donated = jax.jit(lambda p: jax.tree.map(lambda leaf: leaf + 1, p), donate_argnums=0)
    check_ties(donated(jax.tree.map(jnp.copy, TIED)))
    check_ties(jax.device_put(TIED, jax.devices()[0]))
    check_ties(jax.tree.unflatten(jax.tree.structure(TIED), jax.tree.leaves(TIED)))
    assert jax.tree.structure(jax.eval_shape(lambda: TIED)) == jax.tree.structure(TIED)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(TIED)]
    assert "['0']['wte']['weight']" in paths
    assert not any("head" in path for path in paths)


def test_autodiff_beyond_grad() -> None:
    tangents = jax.tree.map(jnp.ones_like, TIED)
    _, tangent = jax.jvp(loss, (TIED,), (tangents,))
    (cotangents,) = jax.vjp(loss, TIED)[1](1.0)
    total = sum(leaf.sum() for leaf in jax.tree.leaves(cotangents))
    np.testing.assert_allclose(tangent, total, rtol=1e-4)
    check_ties(cotangents)


def test_nested_ties_go_through_all_of_it(tmp_path: Path) -> None:
    model = nested()
    params = filled(model)
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    assert same_arrays(unravel(flat), params)
    updates, _ = optax.sgd(0.1).update(params, optax.sgd(0.1).init(params))
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "nested", params)
        checkpointer.wait_until_finished()
        assert same_arrays(checkpointer.restore(tmp_path / "nested", model.abstract()), params)
