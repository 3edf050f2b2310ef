"""Do all contenders compute the same function from the same weights?

    python -m benchmarks.verify [specification ...]

Exits with 1 where outputs, or losses over three train steps, differ from hand-written JAX.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.contender import build, installed, module_of
from benchmarks.models import Config, canonical, canonical_count, inputs, targets

CASES = {
    "gpt": Config(layers=2, width=64, length=16, vocab=64, batch=2),
    "mlp": Config(model="mlp", layers=3, width=32, batch=4),
    "conv": Config(model="conv", batch=4, image=8, channels=(4, 8)),
}
STEPS = 3


def observe(spec: str, cfg: Config, seed: int = 0) -> tuple[np.ndarray, list[float], int]:
    """Give (output, losses of the train steps, count of parameters)."""
    contender = build(spec, cfg)
    weights = contender.load(*canonical(cfg, seed))
    output = contender.output(
        contender.forward(contender.bind(weights), contender.input(inputs(cfg)))
    )
    count = contender.count(weights)
    state, losses = contender.train_state(weights), []
    for step in range(STEPS):
        batch = (contender.input(inputs(cfg, 10 + step)), contender.input(targets(cfg, 10 + step)))
        state, loss = contender.train_step(state, batch)
        losses.append(float(contender.output(loss)))
    return output, losses, count


def specifications(libraries: list[str], model: str) -> list[str]:
    """List every variant of every library, scanned where it can be."""
    listed = []
    for library in libraries:
        module = module_of(library)
        bases = [f"{library}:{variant}" for variant in module.VARIANTS]
        listed += bases + (
            [f"{base}+scan" for base in bases] if module.SCAN and model == "gpt" else []
        )
    return listed


def compare(spec: str, cfg: Config, reference: Any) -> str | None:
    """Say what differs from the reference; None where nothing does."""
    output, losses, count = observe(spec, cfg)
    off = float(np.abs(output - reference[0]).max())
    if not off < 2e-5 * max(1.0, float(np.abs(reference[0]).max())):
        return f"outputs differ by {off:.1e}"
    off = float(np.abs(np.subtract(losses, reference[1])).max())
    if not off < 1e-4:
        return f"losses differ by {off:.1e}"
    if count != canonical_count(cfg):
        return f"has {count} parameters, not {canonical_count(cfg)}"
    return None


def verify(chosen: list[str] | None = None) -> dict[str, str | None]:
    """Compare all contenders on all models; give the fault of each, or None."""
    import jax

    found: dict[str, str | None] = {}
    libraries, _ = installed()
    if "torch" in libraries:
        import torch

        module_of("torch")  # it allows fewer digits
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
    # A GPU multiplies float32 in fewer digits unless told otherwise; this is about functions.
    with jax.default_matmul_precision("highest"):
        for model, cfg in CASES.items():
            reference, other = observe("hand", cfg), observe("hand", cfg, seed=1)
            if np.abs(other[0] - reference[0]).max() < 1e-2:
                raise AssertionError(
                    "the outputs do not depend on the weights: nothing is compared"
                )
            for spec in specifications(libraries, model):
                if chosen and not spec.startswith(tuple(chosen)):
                    continue
                fault = found[f"{model} {spec}"] = compare(spec, cfg, reference)
                print(
                    f"{'FAIL' if fault else 'ok':4s} {model:4s} {spec:22s} {fault or ''}",
                    flush=True,
                )
    return found


if __name__ == "__main__":
    sys.exit(1 if any(verify(sys.argv[1:] or None).values()) else 0)
