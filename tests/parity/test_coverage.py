"""Every class of torch.nn is in funcparams.nn, or stands in a list with the reason why not."""

from __future__ import annotations

import pytest
import torch

import funcparams as fp
from funcparams import nn
from tests.parity.torch_classes import ARGUMENTS, NOT_HERE, classes, make

# PyTorch's own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

CLASSES = classes()
HERE = [name for name in CLASSES if name not in NOT_HERE]


def test_every_class_is_here_or_the_reason_is_given() -> None:
    missing = [name for name in HERE if not hasattr(nn, name)]
    assert not missing, f"of {len(CLASSES)} classes these are neither here nor left out: {missing}"


def test_nothing_is_left_out_that_is_here_or_not_in_pytorch() -> None:
    assert not [name for name in NOT_HERE if hasattr(nn, name) or name not in CLASSES]
    assert not [name for name in ARGUMENTS if name not in CLASSES]


@pytest.mark.parametrize("name", HERE)
def test_the_arguments_and_the_state_dict_are_the_same(name: str) -> None:
    # A class that needs arguments fails here, until the table has them.
    module, model = make(torch.nn, name), make(nn, name)
    assert isinstance(model, fp.Module)
    theirs = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    ours = fp.flatten(model.abstract()) | fp.flatten(model.abstract_state())
    assert {key: value.shape for key, value in ours.items()} == theirs


@pytest.mark.parametrize("name", sorted(NOT_HERE))
def test_what_is_left_out_owns_nothing_that_could_be_loaded(name: str) -> None:
    if name.startswith("Lazy"):  # it becomes the class without the word
        assert hasattr(nn, name.removeprefix("Lazy"))
    elif name in ("RNNBase", "RNNCellBase"):
        base = CLASSES[name]
        heirs = [each for each in base.__subclasses__() if each.__module__ == base.__module__]
        assert heirs
        assert not [heir for heir in heirs if not hasattr(nn, heir.__name__)]
    else:
        assert not make(torch.nn, name).state_dict()
