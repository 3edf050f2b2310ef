"""Convolutions, transposed ones, and the blocks of images that they see."""

from funcparams.nn.conv.convolution import Conv1d, Conv2d, Conv3d
from funcparams.nn.conv.fold import Fold, Unfold
from funcparams.nn.conv.transposed import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Fold",
    "Unfold",
]
