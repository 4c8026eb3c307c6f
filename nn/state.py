"""A model's tensors, found by walking its attributes: there is no base class to inherit.

A model is any object. Its tensors are those in its attributes, in lists, tuples and dicts, and in the
attributes of what it holds; their names are the path to them, as in "layers.0.weight".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..core.errors import ArgumentError, ShapeError
from ..core.tensor import Tensor


def _parts(x: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(x, Mapping):
        yield from ((str(k), v) for k, v in x.items())
    elif isinstance(x, (list, tuple)):
        yield from ((str(i), v) for i, v in enumerate(x))
    elif not isinstance(x, type):
        yield from getattr(x, "__dict__", {}).items()


def state_dict(model: Any) -> dict[str, Tensor]:
    """Every tensor of a model, once, by its first name."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    stack: list[tuple[str, Any]] = [("", model)]
    while stack:
        name, x = stack.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if isinstance(x, Tensor):
            found[name] = x
        else:
            stack.extend((f"{name}.{k}" if name else k, v) for k, v in reversed(list(_parts(x))))
    return found


def parameters(model: Any) -> list[Tensor]:
    """The tensors of a model with ``requires_grad``: what an optimizer changes."""
    return [t for t in state_dict(model).values() if t.requires_grad]


def load_state_dict(model: Any, state: Mapping[str, Any], strict: bool = True) -> None:
    """Gives a model's tensors the values of ``state``, by name, and computes them.

    Args:
        model: any object.
        state: tensors or NumPy arrays, of the same shapes; they are cast to the model's dtypes.
        strict: raise when a name occurs on one side only.

    Raises:
        ArgumentError: for names that do not match.
        ShapeError: for shapes that do not; nothing has been changed then.
    """
    own = state_dict(model)
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if strict and (missing or unknown):
        raise ArgumentError(
            "load_state_dict: "
            + "; ".join(
                f"{what} {', '.join(names)}"
                for what, names in (("missing", missing), ("unknown", unknown))
                if names
            )
        )
    wrong = [
        f"{k}: {tuple(np.shape(state[k]))} for {own[k].shape}"
        for k in own
        if k in state and tuple(state[k].shape) != own[k].shape
    ]
    if wrong:
        raise ShapeError(f"load_state_dict: shapes differ: {'; '.join(wrong)}")
    changed = [own[k].assign(_given(state[k], own[k])) for k in own if k in state]
    if changed:
        changed[0].realize(*changed[1:])


def _given(value: Any, target: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().to(target.device)
    return Tensor(np.asarray(value), device=target.device)
