"""ADRENO: Qualcomm's GPU, through OpenCL. What differs from OPENCL: textures, half, memory, hints.

Where no Adreno is, the published limits of one are laid over another OpenCL device: see ``adreno_profile``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..core import dtype as dt
from ..core.device import Ability, Images, Spec
from ..core.errors import DeviceError, NoDeviceError
from .adreno_dialect import ADRENO_C
from .opencl import OpenCL
from .opencl_choice import Candidate, candidates, choose

if TYPE_CHECKING:
    from .opencl_facts import Limits

_HALF = "PORTWRIGHT_ADRENO_HALF"


class Adreno(OpenCL):
    """An Adreno, or what stands in for one.

    ``PORTWRIGHT_ADRENO_HALF`` says in what float16 is computed: "float" (stored in half, computed wide: the
    default) or "half", where the device has it. ``PORTWRIGHT_ADRENO_PERF`` and ``PORTWRIGHT_ADRENO_PRIORITY``
    are hints to the driver: "high", "normal" or "low".

    Args:
        argument: a profile ("a630", "a730", "a740"), or which device, as ``platform:device``. Without it: an
            Adreno where there is one; else the profile "a630".
    """

    dialect = ADRENO_C
    variants: ClassVar[Mapping[str, str]] = {"sanitize": f"{__package__}.opencl_oclgrind:WatchedAdreno"}

    def __init__(self, argument: str | None = None) -> None:
        there, place = candidates("ADRENO"), os.environ.get("PORTWRIGHT_OPENCL") or None
        from .adreno_hints import hints_for  # these import pyopencl, which ``candidates`` has made sure of
        from .adreno_profile import PROFILES, USUAL
        from .opencl_facts import describe, limits_of

        adrenos = [c for c in there if _is_adreno(c)]
        profile = PROFILES.get((argument or ("" if adrenos else USUAL)).lower())
        if profile is None and not adrenos:
            raise NoDeviceError(
                f"ADRENO: no Adreno is {argument!r}, for there is none", f"Profiles: {', '.join(PROFILES)}"
            )
        chosen = choose("ADRENO", place, there) if profile else choose("ADRENO", argument or place, adrenos)
        spec, limits = describe("ADRENO", chosen), limits_of(chosen.device)
        if profile:
            spec, limits = profile.spec(spec), profile.limits(limits)
        spec = _with_textures(
            _with_half(spec), limits, profile.image_pitch if profile else limits.image_pitch
        )
        spec = replace(spec, unified_memory=True, abilities=spec.abilities | {Ability.HOST_VIEW})
        self._open(chosen, spec, limits, hints_for(chosen.device))


def _is_adreno(candidate: Candidate) -> bool:
    """Qualcomm's driver, or another's for the same GPU."""
    return "qualcomm" in f"{candidate.platform.vendor} {candidate.device.vendor}".lower()


def _with_textures(spec: Spec, limits: Limits, pitch: int) -> Spec:
    """``spec``, reading through images: a vector is a pixel, whose elements are what is computed in."""
    if not limits.image_width:
        return spec
    elements = spec.arithmetic & limits.image_dtypes
    images = Images(limits.image_width, limits.image_height, pitch or 1, elements)
    return replace(spec, images=images, vector_lanes=4)


def _with_half(spec: Spec) -> Spec:
    """``spec``, computing float16 in what was asked for."""
    asked = os.environ.get(_HALF, "float").strip().lower()
    if asked not in ("float", "half"):
        raise DeviceError(f"{_HALF} is {asked!r}: set it to float or half, or unset it")
    if asked == "float":
        return replace(spec, arithmetic=spec.arithmetic - {dt.float16})
    if dt.float16 not in spec.arithmetic:
        raise DeviceError(
            f"{_HALF} is half, and {spec.driver['device']} does not compute in it. Set it to float"
        )
    return spec
