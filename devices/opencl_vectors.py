"""How wide an OpenCL processor's vectors are: what its driver says is tried, in a process of its own.

PoCL 3.0 says sixteen lanes of every processor that has AVX-512, also of those that its compiler does not know
(Zen 4): there, the square root of a ``float16`` ends the whole process with an LLVM error. So a kernel with
one of each thing that a driver may call a function for is compiled, first at the width that the driver says,
then at half of it. What was found is kept in the compile cache, by driver and device.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile

from ..core import python_process
from ..core.cache import compile_cache, digest
from ..core.errors import DeviceError
from .opencl_choice import Candidate, choose
from .opencl_limits import FLAGS, VECTOR_BYTES

_KERNEL = """
__kernel void tried(__global float{n} *a, __global int{n} *b) {{
  const float{n} x = a[0], y = a[1];
  a[0] = sqrt(x), a[1] = fma(x, y, x), a[2] = 1 / y, a[3] = x < y ? x : y;
  a[4] = convert_float{n}(b[0]), b[1] = convert_int{n}(x), b[2] = b[0] >> as_int{n}(y);
}}
"""
_REFUSED = 3
"""How the process ends where the driver has no such vectors, unless the driver ends it."""
_FAILED = 1
"""How it ends where Python does not get as far as that."""
_LONGEST = 120.0
"""Seconds for one width; the first use of a driver loads all of its compiler."""


def vector_bytes(chosen: Candidate) -> int:
    """Of the widest vectors that a processor's driver offers and compiles.

    Raises:
        DeviceError: when nothing can be tried.
    """
    device = chosen.device
    said = max(VECTOR_BYTES, 4 * int(device.native_vector_width_int))
    facts = (*chosen.names, chosen.platform.version, device.version, device.driver_version)
    key = digest("opencl vectors", _KERNEL, *facts, str(said))
    kept = compile_cache().get(key)
    if kept is not None:
        return int(kept)
    width = said
    while width > VECTOR_BYTES and not _compiles(chosen, width):
        width //= 2
    compile_cache().put(key, str(width).encode())
    return width


def _compiles(chosen: Candidate, width: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="portwright-") as folder:
        try:
            done = subprocess.run(
                python_process.command(__name__, ":".join(map(str, chosen.place)), str(width // 4)),
                # PoCL keeps half a program of what ended its compiler, and takes it for a whole one later
                env={**python_process.environment(), "POCL_CACHE_DIR": folder},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                timeout=_LONGEST, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
    if done.returncode == _FAILED:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise DeviceError(f"{chosen}: its vectors cannot be tried in a process of their own: {said}")
    return done.returncode == 0


def _try(place: str, lanes: int) -> bool:
    """In this process, which may end here: whether the kernel becomes a binary that holds it."""
    import pyopencl as cl

    with contextlib.suppress(ImportError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # to write one takes longer than all the rest
    context = cl.Context([choose("the trial of vectors", place).device])
    try:
        program = cl.Program(context, _KERNEL.format(n=lanes)).build(options=list(FLAGS))
        return bool(program.all_kernels() and program.get_info(cl.program_info.BINARIES)[0])
    except cl.Error:
        return False


if __name__ == "__main__":
    sys.exit(0 if _try(sys.argv[1], int(sys.argv[2])) else _REFUSED)
