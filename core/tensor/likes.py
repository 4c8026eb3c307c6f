"""Random tensors in the shape, dtype and place of another."""

from __future__ import annotations

from typing import Any, Self

from .decompose import Decompose


class Likes(Decompose):
    """uniform_like to kaiming_normal_like: each draws as the function of its name, with its keywords."""

    __slots__ = ()

    def _as(self, named: dict[str, Any]) -> dict[str, Any]:
        return {"dtype": self.dtype, "device": self.device, **named}

    def uniform_like(self, **named: Any) -> Self:
        """``uniform`` of this shape, dtype and device."""
        return self.uniform(self.shape, **self._as(named))

    def normal_like(self, **named: Any) -> Self:
        """``normal`` of this shape, dtype and device."""
        return self.normal(self.shape, **self._as(named))

    def scaled_uniform_like(self, **named: Any) -> Self:
        """``scaled_uniform`` of this shape, dtype and device."""
        return self.scaled_uniform(self.shape, **self._as(named))

    def glorot_uniform_like(self, **named: Any) -> Self:
        """``glorot_uniform`` of this shape, dtype and device."""
        return self.glorot_uniform(self.shape, **self._as(named))

    def kaiming_uniform_like(self, **named: Any) -> Self:
        """``kaiming_uniform`` of this shape, dtype and device."""
        return self.kaiming_uniform(self.shape, **self._as(named))

    def kaiming_normal_like(self, **named: Any) -> Self:
        """``kaiming_normal`` of this shape, dtype and device."""
        return self.kaiming_normal(self.shape, **self._as(named))
