"""Random programs: drawn, tested and, when one fails, made smaller by Hypothesis.

``hold`` does it for a case. What failed is first written where the crash of a smaller program cannot take it
along. Hypothesis is then given the choices of the one that failed as if they were an earlier run's. It does
what it is good at, and tries fewer and smaller choices until none fails or time is over; it keeps no files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from unittest.mock import patch

from ..core.errors import NotRunError, PortwrightError
from ..core.graph import MOVEMENT, Node, toposort
from ..core.ops import Op
from .case import Case
from .choices import Choices, Drawn, T
from .judge import Mismatch

Make = Callable[[Choices], Sequence[Node]]
Test = Callable[[Sequence[Node]], None]
FAULT = (Mismatch, PortwrightError)
"""What a test raises."""
_KEY = b"failed"


def hold(case: Case, makes: Sequence[Make], test: Test, tell: Test | None = None) -> None:
    """Tests programs together. When that fails, the first that fails alone is made smaller, and told.

    Args:
        case: whose seed draws them.
        makes: makes the values of a program of choices, for each program.
        test: raises what is wrong with values.
        tell: raises it of the smallest program, with more care; without, ``test``.

    Raises:
        Mismatch: what is wrong.
        PortwrightError: what the device raised.
    """
    drawn = [Drawn(case.rng) for _ in makes]
    made = [make(choices) for make, choices in zip(makes, drawn, strict=True)]
    sizes = [_operations(values) for values in made]
    try:
        test([v for values in made for v in values])
    except NotRunError:
        raise
    except FAULT as error:
        if not case.patience:
            error.add_note("as it was drawn: the time for making failures smaller is spent")
            raise
        ran, note = case.ran, "each program is right when it is made again alone"
        with case.kept(error):
            for make, choices, size in zip(makes, drawn, sizes, strict=True):
                found = shrink(make, _fails_as(error, test), choices, case.patience)
                if found is not None:
                    _tell(make, Choices(choices.seed, found.notes), tell or test, size, found)
                    note = "made smaller, it fails only at times"
                    break
        case.shows(ran)
        error.add_note(note)
        raise


def _tell(make: Make, smallest: Choices, tell: Test, size: int, found: Shrunk) -> None:
    """Raises what is wrong with the smallest; nothing when it is right this time."""
    values = make(smallest)
    now = _operations(values)
    try:
        tell(values)
    except FAULT as error:
        ended = f" ({found.ended})" if found.ended else ""
        error.add_note(f"shrunk from {size} operations to {now}, in {found.tries} tries{ended}")
        raise error from None


def _fails_as(first: Exception, test: Test) -> Callable[[Sequence[Node]], bool]:
    """Whether a program fails by an error of the same kind."""

    def fails(values: Sequence[Node]) -> bool:
        try:
            test(values)
        except FAULT as error:
            return type(error) is type(first)
        return False

    return fails


def _operations(values: Sequence[Node]) -> int:
    """How many nodes there are to compute; constants, in whatever shape, do not count."""
    order = [n for n in toposort(values, stop=lambda n: n.storage is not None) if n.storage is None]
    known: set[Node] = set()
    for node in order:
        if node.op is Op.CONST or (node.op in MOVEMENT and node.srcs[0] in known):
            known.add(node)
    return len(order) - len(known)


@dataclass(frozen=True)
class Shrunk:
    """What came of making a program smaller.

    Attributes:
        notes: the choices of the smallest that fails.
        tries: how many programs were tested.
        ended: why there may be a smaller one, or "".
    """

    notes: tuple[int, ...]
    tries: int
    ended: str = ""


class _Search:
    """Tests programs until the time is over, and keeps the smallest that failed."""

    def __init__(self, fails: Callable[[Sequence[Node]], bool], seconds: float) -> None:
        self.fails = fails
        self.seconds = seconds
        self.until = time.monotonic() + seconds
        self.best: tuple[int, ...] | None = None
        self.tries = 0
        self.ended = ""

    @property
    def is_over(self) -> bool:
        if self.tries and not self.ended and time.monotonic() >= self.until:
            self.ended = f"ended after {self.seconds:g} s"
        return bool(self.ended)

    def test(self, program: tuple[Sequence[Node], tuple[int, ...]]) -> bool:
        values, notes = program
        if self.is_over or not values:
            return False
        self.tries += 1
        try:
            failed = self.fails(values)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a timeout, or a fault of the suite: the failure is told as it is
            self.ended = f"ended by {type(error).__name__}: {error}"
            return False
        if failed and (self.best is None or _size(notes) < _size(self.best)):
            self.best = notes
        return failed


def _size(notes: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """What is called smaller: fewer choices, then lower ones."""
    return len(notes), tuple(map(abs, notes))


def _no_constants() -> AbstractContextManager[object]:
    """Hypothesis reads the sources of all modules that lie in no ``site-packages`` for numbers to try, which
    takes seconds and is kept in a folder beside them. Here is nothing that such numbers could be for."""
    from hypothesis.internal.conjecture import providers

    return patch.object(providers, "_get_local_constants", lambda: providers._local_constants, create=True)


def _same_each_time() -> AbstractContextManager[object]:
    """Hypothesis orders its steps by chance; told a seed, it would do without its database."""
    from hypothesis import core

    return patch.object(core, "global_force_seed", 0, create=True)


def shrink(
    make: Make, fails: Callable[[Sequence[Node]], bool], failed: Choices, seconds: float
) -> Shrunk | None:
    """The smallest program that fails; None when the one that failed does not when it is made again.

    Args:
        make: makes the values of a program.
        fails: whether they are wrong, in the way of the first.
        failed: the choices of that one.
        seconds: how long to look.
    """
    from hypothesis import Phase, Verbosity, find, reject, settings
    from hypothesis import strategies as st
    from hypothesis.database import InMemoryExampleDatabase, choices_to_bytes
    from hypothesis.errors import HypothesisException

    class Tried(Choices):
        """Choices that Hypothesis makes."""

        draw: st.DrawFn

        def piece(self, make: Callable[[Choices], T]) -> T:
            return self.draw(within(self, make))

        def _integer(self, low: int, high: int, leaning: float) -> int:
            return self.draw(st.integers(low, high))

        def _chance(self, p: float) -> int:
            return self.draw(st.integers(0, 1))

        def _settled(self, value: int, most: int) -> int:
            return self.draw(st.integers(0, most))

    @st.composite
    def within(draw: st.DrawFn, choices: Tried, make: Callable[[Choices], T]) -> T:
        outer, choices.draw = choices.draw, draw
        try:
            return make(choices)
        finally:
            choices.draw = outer

    @st.composite
    def programs(draw: st.DrawFn) -> tuple[Sequence[Node], tuple[int, ...]]:
        if search.is_over:
            reject()
        choices = Tried(failed.seed)
        choices.draw = draw
        try:
            return make(choices), tuple(choices.notes)
        except PortwrightError:  # what cannot be made is no program
            reject()

    search = _Search(fails, seconds)
    database = InMemoryExampleDatabase()
    unused = 0  # what is kept with a choice too many is not taken for the smallest already
    database.save(_KEY, choices_to_bytes([*failed.notes, unused]))
    try:
        with (
            suppress(HypothesisException),
            _no_constants(),
            _same_each_time(),
        ):  # none failed, or one fails only at times
            find(
                programs(),
                search.test,
                settings=settings(
                    database=database,
                    phases=(Phase.reuse, Phase.shrink),
                    deadline=None,
                    verbosity=Verbosity.quiet,
                ),
                database_key=_KEY,
            )
    except Exception as error:  # whatever becomes of the search, the failure is told
        search.ended = search.ended or f"ended by {type(error).__name__}: {error}"
        search.best = search.best or tuple(failed.notes)
    return None if search.best is None else Shrunk(search.best, search.tries, search.ended)
