"""Portwright: bring a new accelerator up.

A lazy, fusing tensor engine over an abstract device with 25 primitive operations, and a suite that certifies
each port of it.
"""

from __future__ import annotations

__version__ = "0.1.0"
