"""The heads of kernels in CUDA and Metal text: what each takes, and how the simulators call it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ...core.errors import DeviceError
from ...core.record import dataclass

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_ATTRIBUTE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_NAME = re.compile(r"\b(\w+)\s*\(")
_BOUNDS = re.compile(r"\b__launch_bounds__\s*\([^()]*\)")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel.

    Attributes:
        text: its declaration, without attributes.
        attributes: what stands in double brackets: ``("buffer(0)",)``.
    """

    text: str
    attributes: tuple[str, ...]

    @property
    def is_written(self) -> bool:
        """Whether the memory that it names may be written: by its type."""
        return not re.search(r"\b(const|constant)\b", re.split(r"[*&]", self.text)[0])

    @property
    def name(self) -> str:
        """What it is called."""
        return str(re.findall(r"\w+", self.text)[-1])

    def argument(self, buffer: int) -> str:
        """The expression that passes buffer number ``buffer``."""
        return f"pw::{'Pointer' if '*' in self.text else 'Reference'}{{a[{buffer}]}}"

    def row(self) -> str:
        """Its row in the table of parameters."""
        kind = self.text[: self.text.rindex(self.name)].replace("&", "*")
        return f'{{"{self.name}", sizeof(*({kind})0), {int(self.is_written)}}}'


@dataclass(frozen=True)
class Head:
    """A kernel as it is declared."""

    name: str
    parameters: tuple[Parameter, ...]


def heads(source: str, mark: str) -> Iterator[Head]:
    """Every kernel of a text; ``mark`` is a regular expression for the word that makes a function one."""
    text = _COMMENT.sub(" ", source)
    for found in re.finditer(mark, text):
        head = _BOUNDS.sub("", text[found.end() :].partition("{")[0])
        name = _NAME.search(head)
        if name is None:
            raise DeviceError(f"no kernel's name follows {found[0]!r} in the source")
        inside = head[name.end() : head.rindex(")")]
        yield Head(name[1], tuple(_parameter(p) for p in _split(inside)))


def _parameter(text: str) -> Parameter:
    attributes = [a.strip() for found in _ATTRIBUTE.findall(text) for a in _split(found)]
    return Parameter(_ATTRIBUTE.sub("", text).strip(), tuple(attributes))


def _split(text: str) -> list[str]:
    """At the commas that no bracket encloses."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([<{") - (c in ")]>}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [p.strip() for p in parts if p.strip()]


def entry(name: str, arguments: Sequence[str], buffers: Sequence[Parameter]) -> str:
    """The line behind a text that states a kernel to the runtime.

    Args:
        name: the kernel's.
        arguments: the expressions that it is called with; ``a[i]`` is the address of buffer i.
        buffers: the parameters that are buffers, in the order of the launch.
    """
    rows = ", ".join(b.row() for b in buffers)
    return f"PW_ENTRY({name}, {name}({', '.join(arguments)}), {rows})"
