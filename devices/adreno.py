"""ADRENO: Qualcomm's GPU, through OpenCL. What differs from OPENCL: textures, half, memory, hints.

Where no Adreno is, the published limits of one are laid over another OpenCL device: see ``adreno_profile``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..core import dtype as dt
from ..core.device import Ability, Images, Spec
from ..core.errors import DeviceError, NoDeviceError
from .adreno_dialect import ADRENO_C
from .adreno_profile import PROFILES, Profile
from .opencl import OpenCL
from .opencl_choice import candidates, choose

if TYPE_CHECKING:
    from .opencl_limits import Limits


class Adreno(OpenCL):
    """An Adreno, or what stands in for one; and the base of a vendor's port to a GPU like it.

    A subclass states what it is ``called``, its ``platform`` and the ``profiles`` that stand in where no such
    device is; else it is an ``OpenCL``.

    ``PORTWRIGHT_ADRENO_HALF`` says in what float16 is computed: "float" (stored in half, computed wide: the
    default) or "half", where the device has it. ``PORTWRIGHT_ADRENO_PERF`` and ``PORTWRIGHT_ADRENO_PRIORITY``
    are hints to the driver: "high", "normal" or "low". Of ACME they are ``PORTWRIGHT_ACME_HALF`` and so on.

    Args:
        argument: a profile ("a630", "a730", "a740"), or which device, as ``platform:device``. Without it: an
            Adreno where there is one; else the first profile. ``PORTWRIGHT_ADRENO`` says, as
            ``platform:device``, which Adreno it is or what the profile is laid over.
    """

    called = "ADRENO"
    platform: ClassVar[str] = "qualcomm"  # Qualcomm's driver, or another's for the same GPU
    profiles: ClassVar[Sequence[Profile]] = tuple(PROFILES.values())
    """What may stand in, the usual one first."""
    dialect = ADRENO_C
    variants: ClassVar[Mapping[str, str]] = {"sanitize": f"{__package__}.opencl_oclgrind:WatchedAdreno"}

    def __init__(self, argument: str | None = None) -> None:
        there, place, name = candidates(self.called), self.setting(), self.called
        from .adreno_hints import hints_for  # these import pyopencl, which ``candidates`` has made sure of
        from .opencl_facts import describe, limits_of

        adrenos = [c for c in there if c.is_of(self.platform)]
        profiles = {p.name.lower(): p for p in self.profiles}
        profile = profiles.get((argument or ("" if adrenos else self.profiles[0].name)).lower())
        if profile is None and not adrenos:
            raise NoDeviceError(
                f"{name}: no device of {self.platform!r} is {argument!r}, for there is none",
                f"Profiles: {', '.join(profiles)}",
            )
        chosen = choose(name, place, there) if profile else choose(name, argument or place, adrenos)
        spec, limits = describe(name, chosen), limits_of(chosen.device)
        if profile:
            spec, limits = profile.spec(spec), profile.limits(limits)
        spec = _with_textures(
            _with_half(spec), limits, profile.image_pitch if profile else limits.image_pitch
        )
        spec = replace(spec, unified_memory=True, abilities=spec.abilities | {Ability.HOST_VIEW})
        self._open(chosen, self.stated(spec), limits, hints_for(name, chosen.device))


def _with_textures(spec: Spec, limits: Limits, pitch: int) -> Spec:
    """``spec``, reading through images: a vector is a pixel, whose elements are what is computed in."""
    if not limits.image_width:
        return spec
    elements = spec.arithmetic & limits.image_dtypes
    images = Images(limits.image_width, limits.image_height, pitch or 1, elements)
    return replace(spec, images=images, vector_lanes=4)


def _with_half(spec: Spec) -> Spec:
    """``spec``, computing float16 in what was asked for."""
    variable = f"PORTWRIGHT_{spec.name}_HALF"
    asked = os.environ.get(variable, "float").strip().lower()
    if asked not in ("float", "half"):
        raise DeviceError(f"{variable} is {asked!r}: set it to float or half, or unset it")
    if asked == "float":
        return replace(spec, arithmetic=spec.arithmetic - {dt.float16})
    if dt.float16 not in spec.arithmetic:
        raise DeviceError(
            f"{variable} is half, and {spec.driver['device']} does not compute in it. Set it to float"
        )
    return spec
