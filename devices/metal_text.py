"""What a port of Metal's kind and its simulator have in common."""

from __future__ import annotations

from typing import ClassVar

from .family import Family
from .metal_dialect import METAL_SL
from .metal_spec import Facts


class MetalText(Family):
    """A chip whose language is the Metal Shading Language or one like it.

    A vendor states the chip once, in a subclass of this, and inherits from it beside ``Metal`` for the chip
    itself and ``MetalSim`` for its kernels on the host::

        class AcmeText(MetalText):
            called = "ACME"

        class Acme(AcmeText, Metal): ...
        class AcmeSim(AcmeText, MetalSim): ...
    """

    called = "METAL"
    dialect = METAL_SL
    facts: ClassVar[Facts] = Facts()
    """What the chip has, where no device can be asked."""
