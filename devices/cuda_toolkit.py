"""Where NVIDIA's compiler is on this machine: NVRTC from its wheel or a toolkit, headers beside it, or nvcc.

Looked through in order: the wheels (``nvidia-cuda-nvrtc`` and ``nvidia-cuda-runtime``, with or without a
version in their names), the toolkit that ``CUDA_HOME`` or ``CUDA_PATH`` names, ``/usr/local/cuda``; and for
nvcc the path.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import DriverMissingError
from ..core.record import dataclass

MEND = "pip install nvidia-cuda-nvrtc-cu12 nvidia-cuda-runtime-cu12, or install the CUDA toolkit"
_HEADER = "cuda_fp16.h"
_LIBRARY = "nvrtc64_*_0.dll" if sys.platform == "win32" else "libnvrtc.so*"
_SYSTEM = "/usr/local/cuda"
_LIBRARY_FOLDERS = ("lib", "lib64", "bin", "bin/x64")


@dataclass(frozen=True)
class Found:
    """A compiler and what it needs.

    Attributes:
        nvrtc: the library, or None where there is only ``nvcc``.
        nvcc: the program, or None.
        headers: the folder that holds CUDA's headers; None where nvcc knows its own.
    """

    nvrtc: Path | None
    nvcc: Path | None
    headers: Path | None


def find() -> Found:
    """The compiler to use: NVRTC with headers, else nvcc.

    Raises:
        DriverMissingError: when there is neither: where they were looked for, and what to install.
    """
    looked: list[str] = []
    folders = [*_wheels(), *_toolkits()]
    for folder in folders:
        library = _library(folder)
        looked.append(f"{folder} ({'NVRTC' if library else 'no NVRTC'})")
        if library is not None:
            headers = next((h for f in (folder, *folders) for h in _headers(f)), None)
            if headers is not None:
                return Found(library, None, headers)
            looked.append(f"no {_HEADER} beside it")
    nvcc = shutil.which("nvcc") or next((str(n) for f in folders for n in _programs(f)), None)
    if nvcc is not None:
        return Found(None, Path(nvcc), None)
    where = "; ".join(looked) or "no nvidia wheel is installed, and CUDA_HOME and CUDA_PATH name no toolkit"
    raise DriverMissingError(
        f"no CUDA compiler is installed: looked in {where}, and for nvcc on the path", MEND
    )


def _wheels() -> Iterator[Path]:
    """The folders of the nvidia wheels: one for each component, or since CUDA 13 one for all."""
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for folder in sorted(Path(place).glob("*")):
            if folder.name in ("cuda_nvrtc", "cuda_runtime") or re.fullmatch(r"cu\d+", folder.name):
                yield folder


def _toolkits() -> Iterator[Path]:
    stated = [os.environ.get(name, "").strip() for name in ("CUDA_HOME", "CUDA_PATH")]
    for folder in dict.fromkeys([*filter(None, stated), _SYSTEM]):
        if Path(folder).is_dir():
            yield Path(folder)


def _library(folder: Path) -> Path | None:
    """The newest NVRTC of a folder; the variants that are not the plain one are left out."""
    found = [p for sub in _LIBRARY_FOLDERS for p in (folder / sub).glob(_LIBRARY)]
    plain = [p for p in found if ".alt." not in p.name and "builtins" not in p.name]
    return max(plain, key=lambda p: [int(n) for n in re.findall(r"\d+", p.name)], default=None)


def _headers(folder: Path) -> Iterator[Path]:
    yield from (f for f in (folder / "include",) if (f / _HEADER).is_file())


def _programs(folder: Path) -> Iterator[Path]:
    yield from (p for name in ("nvcc", "nvcc.exe") if (p := folder / "bin" / name).is_file())
