"""Which classes of torch.nn each library has, found by looking: writes docs/layers.md.

    python -m benchmarks.coverage

A library has a class if its layers have a member of that name, or of the name that its own style
makes of it: `Conv2D`, `Conv` for all dimensions, `max_pool` for a function.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "layers.md"
LIBRARIES = {
    "funcparams": "funcparams.nn",
    "Equinox": "equinox.nn",
    "NNX": "flax.nnx",
    "Linen": "flax.linen",
    "Haiku": "haiku",
}
# What a library calls by a name that no rule makes of PyTorch's.
ALIASES = {
    "MultiheadAttention": ("MultiHeadAttention", "MultiHeadDotProductAttention"),
    "Linear": ("Dense",),
    "Embedding": ("Embed",),
    "LSTM": ("RNN",),  # runs any cell
    "GRU": ("RNN",),
    "LSTMCell": ("LSTM",),
    "GRUCell": ("GRU",),
    "RNNCell": ("SimpleCell", "VanillaRNN"),
    "SiLU": ("silu", "swish"),
    "SELU": ("selu",),
    "GLU": ("glu",),
    "Hardswish": ("hard_swish",),
    "Hardsigmoid": ("hard_sigmoid",),
    "Hardtanh": ("hard_tanh",),
    "LogSigmoid": ("log_sigmoid",),
    "Softsign": ("soft_sign",),
    "Softmax": ("softmax",),
    "LogSoftmax": ("log_softmax",),
}
# The rooms of torch.nn.modules, in the order of the page.
FAMILIES = {
    "linear": "Linear",
    "conv": "Convolution",
    "batchnorm": "Normalisation",
    "instancenorm": "Normalisation",
    "normalization": "Normalisation",
    "sparse": "Embedding",
    "rnn": "Recurrent",
    "activation": "Attention and activation",
    "transformer": "Transformer",
    "dropout": "Dropout",
    "pooling": "Pooling",
    "padding": "Padding",
    "flatten": "Shape",
    "fold": "Shape",
    "pixelshuffle": "Shape",
    "channelshuffle": "Shape",
    "upsampling": "Shape",
    "distance": "Distance",
    "container": "Containers",
    "adaptive": "Losses",
    "loss": "Losses",
}

# Bases that nobody makes, an old name, and the lazy ones: shapes are explicit here.
LEFT_OUT = re.compile(r"^Lazy|^_|^Container$|Base$|^NLLLoss2d$")
# What Python has for it, assigned to an attribute of a module.
BUILT_IN = {"ModuleList": "list", "ParameterList": "list", "ModuleDict": "dict"}
BUILT_IN["ParameterDict"] = "dict"


def classes() -> dict[str, list[str]]:
    """Give the classes of torch.nn by family."""
    torch_nn = importlib.import_module("torch.nn")
    found: dict[str, list[str]] = {family: [] for family in FAMILIES.values()}
    for name in sorted(vars(torch_nn)):
        member = getattr(torch_nn, name)
        if not (inspect.isclass(member) and issubclass(member, torch_nn.Module)):
            continue
        room = member.__module__.removeprefix("torch.nn.modules.")
        if room in FAMILIES and not LEFT_OUT.search(name):
            found[FAMILIES[room]].append(name)
    return found


def snake(name: str) -> str:
    """Write `BCEWithLogitsLoss` as `bce_with_logits_loss`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return words.lower()


def candidates(name: str) -> list[str]:
    """Give the names under which a library may have a class of PyTorch's."""
    bare = re.sub(r"[123]d$", "", name)
    turned = re.sub(r"^ConvTranspose([123])d$", r"Conv\1DTranspose", name)
    forms = [name, re.sub(r"([123])d$", r"\1D", name), turned, bare, *ALIASES.get(name, ())]
    return list(dict.fromkeys([*forms, snake(bare), snake(bare).replace("_", "")]))


def member(library: Any, name: str) -> str:
    """Give the name under which a library has a class of PyTorch's, or nothing."""
    names = [name] if library.__name__ == "funcparams.nn" else candidates(name)
    for each in names:
        if callable(getattr(library, each, None)):
            return each
    if library.__name__ == "funcparams.nn":
        return BUILT_IN.get(name) or function_of(library, name)
    return ""


def function_of(library: Any, name: str) -> str:
    """Give the function that stands for a loss, `functional.cross_entropy`."""
    functional = getattr(library, "functional", None)
    spelled = {"BCELoss": "binary_cross_entropy"}
    spelled["BCEWithLogitsLoss"] = "binary_cross_entropy_with_logits"
    whole = snake(name).replace("multi_label", "multilabel").replace("nllloss", "nll_loss")
    for each in (spelled.get(name, whole), whole.removesuffix("_loss"), whole.replace("_loss", "")):
        if callable(getattr(functional, each, None)):
            return f"functional.{each}"
    return ""


def render() -> str:
    """Write the page."""
    libraries = {title: importlib.import_module(path) for title, path in LIBRARIES.items()}
    lines = [
        "# All layers",
        "",
        "Every class of torch.nn, and what each library has for it. The table is written by",
        "`python -m benchmarks.coverage`, which looks into the libraries. `Lazy...` classes are",
        "left out: shapes are explicit here. A loss is a function, and its weight an argument.",
        "",
    ]
    counts = dict.fromkeys(libraries, 0)
    total = 0
    body: list[str] = []
    for family, names in classes().items():
        body += [f"## {family}", "", "| torch.nn | " + " | ".join(libraries) + " |"]
        body.append("|---|" + "---|" * len(libraries))
        for name in names:
            found = {title: member(library, name) for title, library in libraries.items()}
            total += 1
            for title, each in found.items():
                counts[title] += bool(each)
            cells = [f"`{each}`" if each else "" for each in found.values()]
            body.append(f"| {name} | " + " | ".join(cells) + " |")
        body.append("")
    said = ", ".join(f"{title} {count}" for title, count in counts.items())
    lines += [f"Of {total} classes: {said}.", ""]
    return "\n".join([*lines, *body])


if __name__ == "__main__":
    PAGE.write_text(render())
    print(f"wrote {PAGE.name}")
