"""Parametrizations: PyTorch's weight norm, spectral norm, orthogonal weights and pruning masks.

`fp.parametrize(model, params, where, make)` puts them at parameters' places. What is in capitals
is a node: a pytree that stands in params and computes an array. The rest makes such nodes.
"""

from funcparams.edit.places import Place
from funcparams.parametrizations.masks import Masked
from funcparams.parametrizations.orthonormal import Orthogonal, orthogonal
from funcparams.parametrizations.pruning import (
    custom_from_mask,
    global_unstructured,
    l1_unstructured,
    ln_structured,
    random_structured,
    random_unstructured,
)
from funcparams.parametrizations.spectral import SpectralNorm, power_iteration, spectral_norm
from funcparams.parametrizations.weights import WeightNorm, weight_norm
from funcparams.select.flat import torch_names

__all__ = [
    "Masked",
    "Orthogonal",
    "Place",
    "SpectralNorm",
    "WeightNorm",
    "custom_from_mask",
    "global_unstructured",
    "l1_unstructured",
    "ln_structured",
    "orthogonal",
    "power_iteration",
    "random_structured",
    "random_unstructured",
    "spectral_norm",
    "torch_names",
    "weight_norm",
]
