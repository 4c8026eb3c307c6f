"""What a port of a family states: its name, and what it claims of all that its driver has."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import ClassVar

from ..core.device import Device, Evidence, Spec
from ..core.dtype import ALL, DType


class Family(Device):
    """A port that others inherit from. A subclass states what differs, and nothing else.

    A subclass is another device: its name stands in its Spec, in messages and in certificates; its variants
    and the environment variable that it reads are its own.
    """

    called: ClassVar[str]
    """The device's name, in capitals."""
    dtypes: ClassVar[frozenset[DType]] = frozenset(ALL)
    """The dtypes that it may claim: it has those of them that its driver has."""

    def claims(self, spec: Spec) -> Spec:
        """What is claimed of the device: ``spec``, which its driver was asked for, refined.

        A port that overrides this gives ``replace(spec, …)``. It cannot say another name, nor make more of
        the evidence: of what runs elsewhere than on the device, nothing was measured.
        """
        return spec

    def stated(self, spec: Spec) -> Spec:
        """``spec`` in the dtypes that are stated, as ``claims`` refines it."""
        arithmetic = spec.arithmetic & self.dtypes
        tiles = tuple(t for t in spec.tiles if {t.a.dtype, t.b.dtype, t.c.dtype} <= arithmetic)
        images = spec.images and replace(spec.images, dtypes=spec.images.dtypes & arithmetic)
        limited = replace(
            spec, dtypes=spec.dtypes & self.dtypes, arithmetic=arithmetic, tiles=tiles, images=images
        )
        said = self.claims(limited)
        evidence = said.evidence if spec.evidence is Evidence.MEASURED else spec.evidence
        return replace(said, name=spec.name, evidence=evidence)

    @classmethod
    def setting(cls) -> str | None:
        """What the environment says in place of what stands after the colon: ``PORTWRIGHT_ACME``, of ACME."""
        return os.environ.get(f"PORTWRIGHT_{cls.called}", "").strip() or None
