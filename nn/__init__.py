"""Layers, what collects their tensors, and optimizers (``nn.optim``).

A layer is any callable object that holds tensors. ``parameters`` and ``state_dict`` find them by walking
attributes.
"""

from __future__ import annotations

from . import optim
from .container import Dropout, Sequential
from .conv import Conv2d
from .embedding import Embedding
from .linear import Linear
from .norm import BatchNorm2d, GroupNorm, LayerNorm
from .state import load_state_dict, parameters, state_dict

__all__ = [
    "BatchNorm2d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "GroupNorm",
    "LayerNorm",
    "Linear",
    "Sequential",
    "load_state_dict",
    "optim",
    "parameters",
    "state_dict",
]
