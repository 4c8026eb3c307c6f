"""Decisions: where a schedule has more than one right answer, what was asked, what was answered, and by whom.

The heuristic asks as it goes, each question with the answer that it would give and the others that mean the
same. A kernel keeps what was answered, so that a schedule can be written down and replayed (``Stated``),
drawn by chance (``ByChance``), or searched for by changing one answer at a time (``core/tune.py``). Whatever
is answered, a schedule means the same; only its speed differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from .errors import ArgumentError
from .record import dataclass

YES_OR_NO = (0, 1)
"""The answers to whether something should be done."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One question of a schedule, and its answer.

    Attributes:
        what: the question: ``rows of i0``, ``turn i1``.
        value: the answer.
        usual: what the heuristic answers.
        others: what else could have been answered.
    """

    what: str
    value: int
    usual: int
    others: tuple[int, ...]

    def __str__(self) -> str:
        """The answer as it is written down, and what else it could have been."""
        others = sorted({self.usual, *self.others} - {self.value})
        return f"{self.what}: {self.value} (or {', '.join(map(str, others))})"


class Decider(Protocol):
    """Who answers."""

    def answer(self, what: str, usual: int, others: Sequence[int]) -> int:
        """One of ``usual`` and ``others``."""
        ...


@dataclass(frozen=True, slots=True)
class Stated:
    """Answers that are written down; to what is not among them the heuristic's own is given.

    So it is where a stated answer is none of those that could be given, as after a change of the heuristic.
    """

    answers: tuple[Answer, ...] = ()

    def answer(self, what: str, usual: int, others: Sequence[int]) -> int:
        """The stated one, where it is one of those that could be given."""
        value = next((a.value for a in self.answers if a.what == what), usual)
        return value if value in others else usual

    def but(self, what: str, value: int) -> Stated:
        """These with one answer changed, or added."""
        return Stated((*(a for a in self.answers if a.what != what), Answer(what, value)))

    def variants(self, decisions: Sequence[Decision]) -> Iterator[Stated]:
        """These with one answer changed, each way in its turn.

        Args:
            decisions: those of the kernel that these answers led to.
        """
        for d in decisions:
            for value in (d.usual, *d.others):
                if value != d.value:
                    yield self.but(d.what, value)

    def __str__(self) -> str:
        return ", ".join(f"{a.what}: {a.value}" for a in self.answers) or "as it is"

    @staticmethod
    def parse(text: str) -> Stated:
        """What ``str`` gave.

        Raises:
            ArgumentError: when it is no such text.
        """
        if text == str(Stated()):
            return Stated()
        out = []
        for part in text.split(", "):
            what, colon, value = part.rpartition(": ")
            if not colon or not value.isdecimal():
                raise ArgumentError(
                    f"{part!r} is no decision of a schedule: they are written 'rows of i0: 6'"
                )
            out.append(Answer(what, int(value)))
        return Stated(tuple(out))

    @staticmethod
    def of(decisions: Sequence[Decision]) -> Stated:
        """The answers of a kernel that are not the heuristic's own: with them its schedule replays."""
        return Stated(tuple(Answer(d.what, d.value) for d in decisions if d.value != d.usual))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer that is written down."""

    what: str
    value: int


@dataclass(frozen=True, slots=True)
class ByChance:
    """Answers by chance, the same for one kernel whenever it is asked for.

    Attributes:
        seed: of all kernels.
        kernel: which one it is: its text as the heuristic has it.
    """

    seed: int
    kernel: str

    def answer(self, what: str, usual: int, others: Sequence[int]) -> int:
        """Any, each as likely as the others."""
        drawn = hashlib.sha256(f"{self.seed} {what} {self.kernel}".encode()).digest()
        could = sorted({usual, *others})
        return could[int.from_bytes(drawn[:8], "big") % len(could)]


@dataclass(slots=True)
class Decisions:
    """Questions as they are asked: one that is asked again is answered as before.

    Attributes:
        decider: who answers.
        made: what was asked so far, in order.
    """

    decider: Decider
    made: dict[str, Decision] = field(default_factory=dict)

    def ask(self, what: str, usual: int, others: Sequence[int]) -> int:
        """The answer to a question."""
        found = self.made.get(what)
        if found is None:
            value = self.decider.answer(what, usual, others)
            found = Decision(what, value, usual, tuple(o for o in others if o != usual))
            self.made[what] = found
        return found.value

    def whether(self, what: str) -> bool:
        """Whether to do what the heuristic would."""
        return bool(self.ask(what, 1, YES_OR_NO))

    def knob(self, name: str, where: str, usual: int, tried: Mapping[str, Sequence[int]]) -> int:
        """A number that the heuristic goes by, at one place of a kernel."""
        return self.ask(f"{name} of {where}", usual, tried[name])


USUAL = Stated()
"""The heuristic by itself."""
