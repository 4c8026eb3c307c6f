"""What ``import portwright`` brings with it: counted in modules, since times differ by machine."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "click", "rich", "jinja2", "pytest", "_pytest", "hypothesis", "mpmath", "xdist", "packaging",
    "cffi.api", "cffi.recompiler", "pycparser", "importlib.metadata", "concurrent.futures", "hashlib",
    "portwright.core.cache", "portwright.core.fuse", "portwright.core.jit", "portwright.core.legalize",
    "portwright.core.loops", "portwright.core.plan", "portwright.core.schedule", "portwright.nn",
    "portwright.cli", "portwright.conformance", "portwright.devices", "portwright.templates",
}  # fmt: skip
"""Imported when something uses them, and not before."""
STANDARD_LIBRARY_BUDGET = 25
"""Modules of the standard library, packages counted once, beyond those that NumPy needs itself."""


def modules_after(statement: str) -> set[str]:
    script = (
        f"import json, sys, numpy, ml_dtypes\n{statement}\nprint()\nprint(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_heavy_modules_wait_until_they_are_used() -> None:
    loaded = modules_after("import portwright")
    assert not HEAVY & loaded


def test_few_modules_come_from_elsewhere() -> None:
    new = modules_after("import portwright") - modules_after("pass")
    others = {name.partition(".")[0] for name in new} - {"portwright"}
    assert others <= sys.stdlib_module_names | {name for name in others if name.startswith("__editable__")}
    assert len(others) <= STANDARD_LIBRARY_BUDGET, sorted(others)


def test_help_imports_no_command() -> None:
    loaded = modules_after("from portwright.cli.main import main\nmain(['--help'])")
    assert not {"rich", "portwright.cli.devices", "portwright.cli.certify"} & loaded
