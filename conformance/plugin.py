"""The pytest plugin: fixtures for the cases, and their outcomes as records.

It is loaded in the process that runs the cases: a worker, so that a crash or a hang is one failed case, or
the caller's own when the device exists only there.
"""

from __future__ import annotations

import importlib
import inspect
import os
import traceback
from collections.abc import Generator, Iterator
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from ..core.device import Ability, LastWords
from ..core.errors import NotRunError, NotWrittenError
from ..core.registry import open_device
from .case import PATIENCE, Case
from .ladder import Rung, rung_of
from .teach import ALIKE, alike, told
from .tell import SCRIPT, refuge_of, tell
from .tiers import SuiteTier, keeps, offers
from .watch import Watch

SUITE = f"{__package__}.suite"
RECORD = "portwright-accuracy"
"""What a case measured is called in a report of pytest's."""
TIMING = "portwright-timing"
"""And how long its job took."""
LOOKED = pytest.StashKey[float]()
"""Seconds that this process has spent on looking further into failures."""
MOST_LOOKED = 120.0
"""Seconds of that; what fails then is told as it is."""
BARE = frozenset({Rung.OPEN, Rung.MEMORY, Rung.COPY, Rung.SPEED})
"""Rungs without guard bands: they ask the device for memory themselves, or are to take no time for it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that ``runner`` sets."""
    group = parser.getgroup("portwright")
    group.addoption("--device-under-test", default="", help="the name of the device")
    group.addoption("--seed", type=int, default=0, help="what the samples depend on")
    group.addoption("--tier", default=SuiteTier.STANDARD.value, help="how much of the suite")
    group.addoption("--only", default="", help="the file that names the cases to run, one a line; else all")
    group.addoption("--patience", type=float, default=PATIENCE, help="seconds to make a failure smaller")
    group.addoption("--last-words", default="", help="the folder where a device says why it ends a worker")


class SuiteModule(pytest.Module):
    """A file of the suite, imported as the module of the package that it is, wherever that is installed."""

    def _getobj(self) -> ModuleType:
        return importlib.import_module(f"{SUITE}.{self.path.stem}")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
    """Files are collected as modules of the package."""
    module: pytest.Module = SuiteModule.from_parent(parent, path=module_path)
    return module


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector:
    """Folders are folders: no ``__init__`` is imported a second time under another name."""
    folder: pytest.Collector = pytest.Dir.from_parent(parent, path=path)
    return folder


def case_id(nodeid: str) -> str:
    """ "test_casts.py::test_cast[int8-bool]" as "casts::test_cast[int8-bool]"."""
    path, name = nodeid.split("::", 1)
    return f"{path.rsplit('/', 1)[-1].removeprefix('test_').removesuffix('.py')}::{name}"


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str) -> list[pytest.Item] | None:
    """No cases of a test function that the tier does not have; else what pytest makes of it."""
    tier = SuiteTier(collector.config.option.tier)
    return None if offers(tier, case_id(f"{collector.nodeid}::{name}")) else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The cases of the tier and, where they are named, only those."""
    tier, only = SuiteTier(config.option.tier), config.option.only
    named = set(Path(only).read_text(encoding="utf-8").splitlines()) if only else None
    kept, left = list[pytest.Item](), list[pytest.Item]()
    for item in items:
        case = case_id(item.nodeid)
        (kept if keeps(tier, case) and (named is None or case in named) else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def _worker() -> str:
    """What pytest-xdist calls this process; "" where it runs none."""
    return os.environ.get("PYTEST_XDIST_WORKER", "")


@pytest.fixture(scope="session")
def watch(request: pytest.FixtureRequest) -> Iterator[Watch]:
    """The guard bands of the device under test."""
    option = request.config.option
    device = open_device(option.device_under_test)
    if option.last_words and Ability.LAST_WORDS in device.spec.abilities:
        cast(LastWords, device).last_words(str(Path(option.last_words, _worker())))
    with Watch(device).installed() as made:
        yield made


@pytest.fixture
def case(request: pytest.FixtureRequest, watch: Watch) -> Case:
    """The case: see ``Case``."""
    config = request.config
    option = config.option
    left = MOST_LOOKED - config.stash.get(LOOKED, 0.0)
    made = Case(
        option.device_under_test,
        option.seed,
        case_id(request.node.nodeid),
        watch,
        patience=max(0.0, min(option.patience, option.timeout / 4, left)),
        refuge=refuge_of(option.last_words, _worker()) if option.last_words else None,
    )
    request.node.case = made
    checker = made.spec.checker  # which sees for itself where a buffer ends, and what was never written
    for pattern, reason in checker.blind.items() if checker is not None else ():
        if fnmatchcase(made.id, pattern):
            pytest.skip(reason)
    watch.active = checker is None and rung_of(made.id) not in BARE
    watch.begin()
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """After the case's own checks: nothing else was written, and what it measured is kept.

    Of a port that compiles only, a case ends where its first kernels would be launched: by then the compiler
    has taken them, which is all that its certificate claims.
    """
    made: Case | None = getattr(item, "case", None)
    try:
        yield
    except NotRunError as ended:
        if made is None or not made.compiles_only:
            raise
        traceback.clear_frames(ended.__traceback__)  # which still hold what the case made
    if made is not None:
        made.finish()
        item.user_properties.append((RECORD, made.records()))
        if made.timing is not None:
            item.user_properties.append((TIMING, asdict(made.timing)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure as a reader needs it: what differs, the seed, how to see it again, the kernel and the log."""
    report = yield
    made: Case | None = getattr(item, "case", None)
    if report.failed and call.excinfo is not None and made is not None:
        error = call.excinfo.value
        meant = inspect.getdoc(getattr(item, "function", None)) or ""
        text = told(error, made.device, report.longreprtext, meant)
        if not isinstance(error, NotWrittenError):
            failure = tell(made, error, text)
            text = failure.text
            report.user_properties.append((SCRIPT, failure.script))
        item.config.stash[LOOKED] = item.config.stash.get(LOOKED, 0.0) + made.looked
        report.longrepr = text
        report.user_properties.append((ALIKE, alike(error)))
    return report
