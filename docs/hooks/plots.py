"""Draw the curves that the reference shows, from the layers and initializers themselves."""

from __future__ import annotations

import io
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from funcparams import init, nn

BLUE, RED = "#0b4f8a", "#c1121f"
CURVES = """ReLU LeakyReLU PReLU ELU CELU SELU GELU SiLU Mish Softplus Hardswish ReLU6 Sigmoid
Hardsigmoid Tanh Hardtanh Softsign LogSigmoid Tanhshrink Softshrink Hardshrink RReLU""".split()
DRAWN = {
    "uniform(-1, 1)": init.uniform(-1.0, 1.0),
    "normal(std=1)": init.normal(std=1.0),
    "trunc_normal(std=1)": init.trunc_normal(std=1.0),
    "xavier_uniform()": init.xavier_uniform(),
    "xavier_normal()": init.xavier_normal(),
    "kaiming_uniform()": init.kaiming_uniform(),
    "kaiming_normal()": init.kaiming_normal(),
    "orthogonal()": init.orthogonal(),
    "sparse(0.5, std=1)": init.sparse(0.5, std=1.0),
}


def activations() -> Figure:
    """Draw every activation of one number, and its derivative."""
    figure = Figure(figsize=(11, 9.5), layout="constrained")
    x = jnp.linspace(-4, 4, 801)
    for axes, name in zip(figure.subplots(5, 5).flat, CURVES, strict=False):
        layer = getattr(nn, name)()
        params = layer.init(None)
        curve = jax.vmap(jax.value_and_grad(lambda x, m=layer, p=params: m.apply(p, x)))
        y, slope = curve(x)
        axes.plot(x, slope, color=RED, linewidth=0.9, alpha=0.7)
        axes.plot(x, y, color=BLUE)
        axes.set_title(name, fontsize=10)
        axes.set(ylim=(-2, 4))
        axes.grid(alpha=0.25)
    for axes in figure.axes[len(CURVES) :]:
        axes.set_axis_off()
    return figure


def distributions() -> Figure:
    """Draw what initializers give for a weight of 256 outputs and 64 inputs."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    key = jax.random.key(0)
    for axes, (name, initializer) in zip(figure.subplots(3, 3).flat, DRAWN.items(), strict=True):
        values = np.ravel(initializer(key, (256, 64), jnp.float32))
        axes.hist(values, bins=80, color=BLUE, density=True)
        axes.set_title(f"{name}: std {values.std():.3f}", fontsize=10)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the plots to the site; they are drawn anew at each build and stand in no repository."""
    mpl.rcParams["svg.hashsalt"] = "funcparams"
    for name, figure in (("activations", activations()), ("distributions", distributions())):
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        uri = f"reference/{name}.svg"
        files.append(File.generated(config, uri, content=text.getvalue()))
    return files
