"""Good devices that differ from each other as the contract lets ports differ: no case may fail on one.

They add in another order, round a product and a sum once or twice, or flush subnormals and say so. A suite
that takes one of these for a fault would send a port's author after nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ...core.device import Device
from ...core.device import Extra as Offer
from ...core.dtype import DType, wide
from ...core.errors import DeviceError
from ...core.graph import ReduceArg
from ...core.knobs import Knobs
from ...core.ops import Op
from ...core.value import Value, ValueOp, fma, primitive
from .bases import base_name, open_new
from .means import Misprinting, claims, each_value, language, table, together
from .mutant import Base, Spoil
from .walk import Array, folding, one_after_another, right

_SUMS: frozenset[ValueOp] = frozenset({Op.ADD, Op.SUB})


@dataclass(frozen=True)
class Variant:
    """A good device, made of one of ours.

    Attributes:
        name: of the variant, and in capitals of the device.
        differs: in what, in one sentence.
        change: makes it of the good device.
        base: which kind of good device.
    """

    name: str
    differs: str
    change: Spoil
    base: Base = Base.KERNELS


def contracted(v: Value, srcs: tuple[Value, ...]) -> Value | None:
    """A sum or a difference of which one part is a product, rounded once."""
    if v.op not in _SUMS or not v.dtype.is_float:
        return None
    a, b = srcs
    if a.op is Op.MUL:
        return fma(a.srcs[0], a.srcs[1], primitive(Op.NEG, b) if v.op is Op.SUB else b)
    if b.op is Op.MUL:
        left = primitive(Op.NEG, b.srcs[0]) if v.op is Op.SUB else b.srcs[0]
        return fma(left, b.srcs[1], a)
    return None


def contracting(device: Device) -> None:
    """Every product that is added to something is rounded once, by a device that can."""
    if Offer.FMA not in device.spec.extras:
        raise DeviceError(f"{device.name} rounds a·b + c twice: it offers no fma")
    each_value(contracted, vectors=True)(device)


def less_fma(device: Device) -> None:
    """Each product and each sum is rounded by itself."""
    device.spec = replace(device.spec, extras=device.spec.extras - {Offer.FMA})


_FLUSH = """
#if defined(__SSE__)
typedef unsigned int pw_mode;
#define PW_FLUSH pw_mode pw_was = __builtin_ia32_stmxcsr(); __builtin_ia32_ldmxcsr(pw_was | 0x8040u);
#define PW_AS_WAS __builtin_ia32_ldmxcsr(pw_was);
#elif defined(__aarch64__)
typedef unsigned long pw_mode;
#define PW_FLUSH pw_mode pw_was; __asm__ volatile("mrs %0, fpcr" : "=r"(pw_was)); \\
  __asm__ volatile("msr fpcr, %0" : : "r"(pw_was | (1ul << 24)));
#define PW_AS_WAS __asm__ volatile("msr fpcr, %0" : : "r"(pw_was));
#else
#error "how this processor is told to flush subnormals is not known here"
#endif
"""
"""The processor's own mode: of x86-64 FTZ and DAZ, of AArch64 FZ."""


def flushing(device: Device) -> None:
    """Each kernel runs in the mode in which the processor flushes subnormals, and the Spec says so."""
    head = re.escape(table(device).kernel.partition("{name}")[0])
    kernel = re.compile(rf"^({head}\w+\([^{{]*\) \{{)$(.*?)^\}}$", re.MULTILINE | re.DOTALL)

    def in_mode(source: str) -> str:
        return _FLUSH + kernel.sub(r"\1 PW_FLUSH\2  PW_AS_WAS\n}", source)

    together(language(lambda c: Misprinting(c, print_as=in_mode)), claims(flushes_subnormals=True))(device)


def in_order(rows: Array, arg: ReduceArg, dtype: DType) -> Array:
    """One after another, in the dtype that folds are held in."""
    held = wide(dtype)
    return one_after_another(right(Op.CAST, held, rows) if held is not dtype else rows, arg, held)


VARIANTS = (
    Variant(
        "serial",
        "one thread, one lane, one partial sum, and no product rounded with its sum",
        together(claims(threads=1, vector_bytes=0, vector_registers=0), less_fma),
    ),
    Variant(
        "tree",
        "vectors of 64 bytes, as many partial sums as there are, which a tree folds, shared by 16 threads",
        claims(threads=16, vector_bytes=64, vector_registers=64),
    ),
    Variant(
        "turned",
        "every knob of the schedule as far from where it stands as a search turns it",
        claims(
            knobs=Knobs(rows=5, vectors=3, unroll=8, partial=2, stripe=256, panel=8, pieces=16),
            cache_bytes=(1 << 10, 1 << 14, 1 << 20),
        ),
    ),
    Variant("contracted", "every product that is added to something is rounded with it, once", contracting),
    Variant("uncontracted", "products and sums are each rounded", less_fma),
    Variant("flushing", "subnormals are flushed, as the Spec says", flushing),
    Variant(
        "in_order",
        "folds from the first element to the last, floats narrower than float32 in float32",
        folding(in_order),
        Base.DISPATCH,
    ),
)


def find(name: str) -> Variant | None:
    """The variant of this name; None of a device's."""
    return next((v for v in VARIANTS if v.name == name), None)


def opened(v: Variant) -> Device:
    """The variant, opened anew.

    Raises:
        DeviceError: when no device that it could be made of opens here.
    """
    device = open_new(base_name(v.base))
    device.spec = replace(device.spec, name=v.name.upper())
    v.change(device)
    return device
