"""realize(): from graph nodes to memory that holds their values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .device import Buffer
from .evaluate import evaluate
from .graph import Node
from .registry import open_device


def read(node: Node) -> np.ndarray:
    """The array of a node that has storage."""
    out = np.empty(node.size, node.dtype.numpy)
    assert node.storage is not None
    node.storage.read(memoryview(out.view(np.uint8)))
    return out.reshape(node.shape)


def realize(nodes: Sequence[Node], device: str) -> None:
    """Computes ``nodes`` (those without storage) on ``device`` and gives each its storage."""
    todo = [n for n in nodes if n.storage is None]
    for n, v in zip(todo, evaluate(todo, read), strict=True):
        storage = Buffer(open_device(n.device or device), n.nbytes)
        storage.write(memoryview(np.ascontiguousarray(v).reshape(-1).view(np.uint8)))
        n.storage = storage
