"""What real Adreno GPUs can do, as published: laid over another driver, what fails on the phone fails here.

A figure that nobody published for the very GPU is that of its family, and its source says so; one that is
None is not known, and is asked of the device that stands in. Every Adreno lacks float64, subnormals, fused
multiply-add and correctly rounded division (*a650*, *a750*), and shares the host's memory (*guide*, 7.4).

Sources:

- *guide*: Qualcomm Snapdragon Mobile Platform OpenCL General Programming and Optimization, 80-NB295-11 C.
- *a630*: what its driver ("OpenCL 2.0 Adreno(TM) 630") says when openpilot starts; *a630 vulkan*: what ncnn
  printed of the same GPU in a Galaxy S9 (subgroup=64).
- *a650*: a whole clinfo of an Adreno 650, in xmrig/xmrig issue 2383.
- *a730*: the device queries of a Snapdragon 8+ Gen 1 ("OpenCL 3.0 Adreno(TM) 730"), printed beside clpeak's.
- *a740*: what llama.cpp prints on a Snapdragon 8 Gen 2, in ggml-org/llama.cpp pull request 10693.
- *a750*: clinfo of an Adreno 750, in Oblomov/clinfo issue 92 and ggml-org/whisper.cpp issue 3708.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..core import dtype as dt
from ..core.device import Evidence, Spec
from ..core.errors import DeviceError
from ..core.record import dataclass
from .opencl_limits import FLAGS, SLOW_ON_HOST, VECTOR_BYTES, Limits


@dataclass(frozen=True)
class Profile:
    """One GPU. Another is made of a published one: ``replace(profile_for("a630"), name="x1", group=512)``.

    Attributes:
        name: as it is asked for.
        group: work items that a work-group may have.
        local_bytes: that a work-group shares.
        image_side: pixels of an image, each way.
        image_pitch: pixels of which a row of an image that is a buffer holds a whole number.
        wave: work items in step.
        alignment: of a buffer, in bytes.
        buffer_bytes: that one buffer may have.
        units: compute units.
        cache_bytes: of the cache that all share.
        sources: of each figure, by its name.
    """

    name: str
    group: int
    local_bytes: int
    image_side: int
    image_pitch: int
    wave: int
    alignment: int
    buffer_bytes: int | None
    units: int | None
    cache_bytes: int | None
    sources: Mapping[str, str]

    def spec(self, spec: Spec) -> Spec:
        """What the GPU could do in place of the device that ``spec`` describes, and no more."""
        return replace(
            spec,
            evidence=Evidence.EMULATED,
            dtypes=spec.dtypes - {dt.float64},
            native=spec.native | SLOW_ON_HOST,
            arithmetic=spec.arithmetic - {dt.float64},
            vector_bytes=VECTOR_BYTES,
            private_bytes=0,
            flushes_subnormals=True,
            extras=frozenset(),
            threads=self.wave * self.units if self.units else spec.threads,
            cache_bytes=(self.cache_bytes,) if self.cache_bytes else spec.cache_bytes,
            local_bytes=min(self.local_bytes, spec.local_bytes),
            max_block=min(self.group, spec.max_block),
            block=self.wave,
            warp=self.wave,
            alignment=max(self.alignment, spec.alignment),
            driver={**spec.driver, "profile": self.name, "flags": " ".join((*FLAGS, "-cl-denorms-are-zero"))},
        )

    def limits(self, limits: Limits) -> Limits:
        """What there would be of it. Images stay copies where the device makes none of buffers."""
        return replace(
            limits,
            buffer_bytes=min(self.buffer_bytes or limits.buffer_bytes, limits.buffer_bytes),
            image_width=min(self.image_side, limits.image_width),
            image_height=min(self.image_side, limits.image_height),
        )


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "a630", group=1024, local_bytes=32 << 10, image_side=16384, image_pitch=64, wave=64,
            alignment=128, buffer_bytes=None, units=None, cache_bytes=None,
            sources={
                "group": "a630", "wave": "a630 vulkan", "local_bytes": "a650", "image_side": "a650",
                "image_pitch": "a650", "alignment": "a650",
            },
        ),
        Profile(
            "a730", group=1024, local_bytes=32 << 10, image_side=16384, image_pitch=64, wave=128,
            alignment=128, buffer_bytes=1 << 30, units=4, cache_bytes=256 << 10,
            sources={
                "group": "a730", "local_bytes": "a730", "image_side": "a730", "buffer_bytes": "a730",
                "units": "a730", "cache_bytes": "a730", "image_pitch": "a750", "alignment": "a740",
                "wave": "a650",
            },
        ),
        Profile(
            "a740", group=1024, local_bytes=32 << 10, image_side=16384, image_pitch=64, wave=128,
            alignment=128, buffer_bytes=1 << 30, units=None, cache_bytes=None,
            sources={
                "buffer_bytes": "a740", "alignment": "a740", "group": "guide", "local_bytes": "a730",
                "image_side": "a730", "image_pitch": "a750", "wave": "a650",
            },
        ),
    )
}  # fmt: skip


def profile_for(name: str) -> Profile:
    """The published profile of this name.

    Raises:
        DeviceError: when there is none, with those that there are.
    """
    if name not in PROFILES:
        raise DeviceError(f"no profile of an Adreno is called {name!r}: there are {', '.join(PROFILES)}")
    return PROFILES[name]
