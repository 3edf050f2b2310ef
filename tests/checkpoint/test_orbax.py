"""Orbax restores params against `abstract()` into any sharding, with references intact."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
import jax, numpy as np, optax
import orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import funcparams as fp
from tests.models import Language

model = Language(8, 4)
params = model.init(jax.random.key(0))
optimizer = optax.adam(1e-3)
run = {"params": params, "opt_state": optimizer.init(params)}
path = Path(sys.argv[1]) / "run"
mesh = Mesh(np.array(jax.devices()), ("data",))

def split(struct):
    spec = P("data") if struct.ndim and struct.shape[0] % 4 == 0 else P()
    return jax.ShapeDtypeStruct(struct.shape, struct.dtype, sharding=NamedSharding(mesh, spec))

abstract = model.abstract()
whole = {"params": abstract, "opt_state": jax.eval_shape(optimizer.init, abstract)}
with ocp.StandardCheckpointer() as checkpointer:
    checkpointer.save(path, run)
    checkpointer.wait_until_finished()
    again = checkpointer.restore(path, jax.tree.map(split, whole))
table = again["params"]["wte"]["weight"]
assert len(table.sharding.device_set) == 4 and table.addressable_shards[0].data.shape == (2, 4)
assert again["params"]["head"]["weight"] == fp.Ref("..wte.weight")
assert jax.tree.structure(again) == jax.tree.structure(run)
for one, two in zip(jax.tree.leaves(again), jax.tree.leaves(run), strict=True):
    np.testing.assert_array_equal(one, two)
assert not fp.diff(again["params"], params)
y = jax.jit(model.apply)(again["params"], np.arange(8))
np.testing.assert_allclose(y, model.apply(params, np.arange(8)), rtol=1e-5)
"""


def test_into_a_sharding(tmp_path: Path) -> None:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root)
    assert done.returncode == 0, done.stderr
