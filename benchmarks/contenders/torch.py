"""PyTorch: eager modules and AdamW. Variants: eager; compile, with torch.compile.

It computes in the same process on the same machine, on the GPU where it finds one. What jit does
for the others, tracing and lowering, it has not; so it stands in some tables only.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.contender import CHECKPOINT, Contender
from benchmarks.models import DECAY, RATE, STD, Config

IMPORT = "import torch"
VARIANTS = ("eager", "compile")
SCAN = False


if torch.cuda.is_available():
    torch.set_float32_matmul_precision("high")  # what JAX does on a GPU unless told otherwise


def place() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def attention(qkv: Any, heads: int) -> Any:
    """The function of models.attention, in the same formulas."""
    *lead, length, triple = qkv.shape
    size = triple // 3 // heads
    q, k, v = (part.reshape(*lead, length, heads, size) for part in qkv.split(triple // 3, dim=-1))
    scores = torch.einsum("...qhd,...khd->...hqk", q, k) * size**-0.5
    mask = torch.ones(length, length, dtype=torch.bool, device=qkv.device).tril()
    scores = scores.masked_fill(~mask, -1e9)
    out = torch.einsum("...hqk,...khd->...qhd", scores.softmax(-1), v)
    return out.reshape(*lead, length, triple // 3)


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Any) -> Any:
        x = x + self.proj(attention(self.qkv(self.ln1(x)), self.heads))
        return x + self.out(F.gelu(self.fc(self.ln2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.wte = nn.Embedding(cfg.vocab, cfg.width)
        self.wpe = nn.Embedding(cfg.length, cfg.width)
        self.blocks = nn.ModuleList(Block(cfg.width, cfg.heads) for _ in range(cfg.layers))
        self.ln_f = nn.LayerNorm(cfg.width)
        self.head = nn.Linear(cfg.width, cfg.vocab, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, ids: Any) -> Any:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[-1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


class MLP(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(cfg.width, cfg.width) for _ in range(cfg.layers))

    def forward(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class Conv(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        sizes = (3, *cfg.channels)
        pairs = pairwise(sizes)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for o in cfg.channels)
        self.dense = nn.Linear(sizes[-1], cfg.classes)

    def forward(self, x: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        return self.dense(x.mean((2, 3)))


class Torch(Contender):
    """The weights are the module."""

    def __init__(self, cfg: Config, variant: str) -> None:
        self.cfg = cfg
        self.cls = {"gpt": GPT, "mlp": MLP, "conv": Conv}[cfg.model]

        def forward(model: Any, x: Any) -> Any:
            with torch.no_grad():
                return model(x)

        def loss(model: Any, x: Any, target: Any) -> Any:
            y = model(x)
            if cfg.model == "mlp":
                return F.mse_loss(y, target)
            return F.cross_entropy(y.reshape(-1, y.shape[-1]), target.reshape(-1).long())

        if variant == "compile":
            forward, loss = (torch.compile(f, dynamic=False) for f in (forward, loss))

        def step(state: Any, batch: Any) -> Any:
            model, optimizer = state
            optimizer.zero_grad()
            value = loss(model, *batch)
            value.backward()
            optimizer.step()
            return state, value.detach()

        self.forward, self.train_step = forward, step

    def inits(self) -> dict[str, Any]:
        def make(key: Any) -> Any:
            torch.manual_seed(0)
            with place():
                model = self.cls(self.cfg)
                for module in model.modules():
                    if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                        nn.init.normal_(module.weight, std=STD)
                    if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                        nn.init.zeros_(module.bias)
            return model

        return {"eager": make}

    def abstract(self) -> Any:
        with torch.device("meta"):
            return self.cls(self.cfg)

    def zeros(self) -> Any:
        model = self.abstract().to_empty(device=place())
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data.zero_()
        return self._tied(model).eval()

    def _tied(self, model: Any) -> Any:
        if self.cfg.model == "gpt":  # to_empty has untied them
            model.head.weight = model.wte.weight
        return model

    def load(self, params: Any, state: Any) -> Any:
        model = self.zeros()
        flat: dict[str, Any] = {}

        def visit(tree: Any, name: str) -> None:
            if isinstance(tree, dict):
                for key, below in tree.items():
                    visit(below, f"{name}.{key}" if name else key)
            else:
                flat[name] = torch.tensor(tree)

        visit(params, "")
        visit(state, "")
        if self.cfg.model == "gpt":
            flat["head.weight"] = flat["wte.weight"]
        model.load_state_dict(flat)
        return model

    def train_state(self, weights: Any) -> Any:
        weights.train()
        optimizer = torch.optim.AdamW(weights.parameters(), lr=RATE, weight_decay=DECAY)
        return weights, optimizer

    def eager(self, weights: Any) -> Any:
        def run(x: Any) -> Any:
            with torch.no_grad():
                return weights(x)

        return run

    def count(self, weights: Any) -> int:
        return sum(parameter.numel() for parameter in weights.parameters())

    def ready(self, tree: Any) -> Any:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return tree

    def input(self, x: Any) -> Any:
        return torch.tensor(x).to(place())

    def output(self, y: Any) -> Any:
        return np.asarray(y.detach().cpu())

    def save(self, folder: Path, weights: Any) -> None:
        torch.save(weights.state_dict(), folder / f"{CHECKPOINT}.pt")

    def restore(self, folder: Path) -> Any:
        model = self._tied(self.abstract())
        state = torch.load(folder / f"{CHECKPOINT}.pt")
        model.load_state_dict(state, assign=True)
        return self._tied(model)


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, device=place()))

    def forward(self, x: Any) -> Any:
        return x * self.scale


def scales(count: int) -> tuple[Any, Any]:
    model = nn.Sequential(*(Scale() for _ in range(count)))

    def run(x: Any) -> Any:
        with torch.no_grad():
            return model(x)

    return run, torch.ones(2, device=place())


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)


class Many(nn.Module):
    def __init__(self, count: int):
        super().__init__()
        self.pairs = nn.ModuleList(Pair() for _ in range(count))


def many(modules: int) -> Many:
    """Make a module on the meta device, without numbers; it has no value to compare or hash."""
    with torch.device("meta"):
        return Many((modules - 1) // 3)


def uses(model: Many) -> dict[str, Any]:
    return {}


def build(cfg: Config, variant: str) -> Contender:
    return Torch(cfg, variant)
