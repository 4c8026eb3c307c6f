"""What is told of a failure besides what differs: how to see it again, and what was compiled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import CompileError, PortwrightError
from .alone import shown
from .case import Case
from .judge import Mismatch
from .ladder import again

SCRIPT = "portwright-script"
"""What a failure's script is called in a report of pytest's."""
MOST_RAN = 6
MOST_SOURCE = 200
MOST_LOG = 40
MOST_SCRIPT = 60
"""Values, and lines, that are told."""


@dataclass(frozen=True)
class Failure:
    """All that is said of a failure, and a script that shows it; "" where running the case does best."""

    text: str
    script: str


def tell(case: Case, error: BaseException, text: str) -> Failure:
    """All that is said of the failure of a case, of which ``text`` says what differs."""
    made, lost = "", ""
    if isinstance(error, Mismatch | PortwrightError):
        try:
            with case.kept(error):
                made = shown(case)
        except Exception as other:  # what fails here must not hide why the case failed
            lost = f"{type(other).__name__}: {other}"
    lines = [text, f"  seed       {case.seed}", f"  again      {again(case.name, case.id, case.seed)}"]
    lines += _part("script", f"none: {lost}" if lost else "", 1)
    if isinstance(error, Mismatch) and error.at is None:
        lines[1:1] = _ran(case)
    lines += _part("log", _log(error, text), MOST_LOG)
    if made and made.count("\n") <= MOST_SCRIPT:
        lines += ["  script", made.rstrip()]
    elif made:
        lines.append("  script     too long for here: --report FOLDER writes it")
    return Failure("\n".join([*lines, *_kernels(case)]), made)


def _ran(case: Case) -> list[str]:
    """What was realized last: where a failure is not about an element, it is about one of these."""
    named = [f"{node.op!r} {node.dtype} {list(node.shape)}" for node in case.ran]
    more = f" and {len(named) - MOST_RAN} more" if len(named) > MOST_RAN else ""
    return [f"  ran        {', '.join(named[:MOST_RAN])}{more}"] if named else []


def refuge_of(folder: str | Path, worker: str) -> Path:
    """Where a worker keeps a failure while it tries more, in case that ends it."""
    return Path(folder, f"{worker}-failed")


def _log(error: BaseException, text: str) -> str:
    """What the compiler printed, where that is not told already."""
    log = error.log.strip() if isinstance(error, CompileError) else ""
    return "" if log in text else log


def _kernels(case: Case) -> Iterator[str]:
    try:
        sources = list(case.sources())
    except Exception as error:  # what fails here must not hide why the case failed
        yield f"  kernel     none: {type(error).__name__}: {error}"
        return
    yield from _part("kernel", "\n\n".join(sources), MOST_SOURCE)


def _part(label: str, text: str, most: int) -> list[str]:
    lines = text.splitlines()
    more = [f"    … {len(lines) - most} more lines"] if len(lines) > most else []
    return [f"  {label}", *(f"    {line}".rstrip() for line in lines[:most]), *more] if lines else []
