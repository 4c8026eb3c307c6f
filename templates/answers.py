"""The questions of a new port: what may be answered, and what templates are given.

The questions themselves, with their defaults, are in ``cookiecutter/cookiecutter.json``. Names written there
with two underscores are made from answers. This file needs nothing of Portwright, so that a hook can run it
from the tree alone.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

TREE = Path(__file__).parent.parent / "cookiecutter"
QUESTIONS = ("name", "vendor", "family", "through", "dtypes", "licence")
GROUP = "portwright.devices"
INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float32", "float64")
NEEDED = ("bool", "int32", "float32")
"""The dtypes that every port computes in."""
BITS = {"float64": "uint64"}
"""What a dtype's bits are, of one that cannot be computed without them."""
EVERY = "all"
LONGEST = 40
"""Characters of a name: it stands in file names, in classes and on terminals."""
LONGEST_LINE = {"vendor": 60, "through": 200}
"""Characters of an answer that is a line of text."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LINE = re.compile(r"[^\x00-\x1f\x7f\"\\{}]*")


@lru_cache(maxsize=1)
def tree() -> dict[str, Any]:
    """``cookiecutter.json``: the questions, with their defaults, and the families."""
    found: dict[str, Any] = json.loads((TREE / "cookiecutter.json").read_text(encoding="utf-8"))
    return found


def families() -> dict[str, dict[str, str]]:
    """The families, and what differs by family: see ``cookiecutter.json``."""
    found: dict[str, dict[str, str]] = tree()["_families"]
    return found


def dtypes_of(answers: Mapping[str, Any]) -> list[str]:
    """The dtypes that were answered, in the contract's order, with those that they need."""
    lacks = families()[answers["family"]]["lacks"].split()
    words = re.split(r"[\s,]+", str(answers["dtypes"]).strip())
    every = [d for d in (*INTEGERS, *FLOATS) if d not in lacks]
    needed = {*NEEDED, *(BITS[w] for w in words if w in BITS)}
    return every if EVERY in words else [d for d in every if d in words or d in needed]


def for_templates(context: Mapping[str, Any]) -> dict[str, Any]:
    """What a family's templates are given, from cookiecutter's context."""
    chosen = dtypes_of(context)
    return {
        **{q: context[q] for q in QUESTIONS if q != "dtypes"},
        **{k.strip("_"): v for k, v in context.items() if k.startswith("__") and isinstance(v, str)},
        "integers": " ".join(d for d in chosen if d in INTEGERS),
        "floats": " ".join(d for d in chosen if d in FLOATS),
    }


def faults_of(answers: Mapping[str, Any]) -> list[str]:
    """What is wrong with answers, each with what to do; empty when they make a project."""
    faults = [*_name(str(answers["name"]))]
    for question in ("vendor", "through"):
        if not _LINE.fullmatch(str(answers[question])):
            said = f"{question} {answers[question]!r}"
            faults.append(f"{said}: write one line without double quotes, backslashes or braces")
        elif len(str(answers[question])) > LONGEST_LINE[question]:
            faults.append(f"{question} is too long: write at most {LONGEST_LINE[question]} characters")
    if not str(answers["vendor"]).strip():
        faults.append("vendor is empty: say who makes the chip")
    if answers["licence"] not in tree()["licence"]:
        faults.append(f"licence {answers['licence']!r}: there are {', '.join(tree()['licence'])}")
    if answers["family"] not in families():
        close = get_close_matches(str(answers["family"]), families(), 1)
        hint = f". Did you mean {close[0]}?" if close else ""
        faults.append(f"family {answers['family']!r}: there are {', '.join(families())}{hint}")
        return faults
    return [*faults, *_dtypes(answers)]


def _name(name: str) -> list[str]:
    if not _NAME.fullmatch(name) or len(name) > LONGEST:
        return [
            f"name {name!r}: write a Python name in lower case, of letters, digits and single underscores, a "
            f"letter first, at most {LONGEST} characters: acme_x1"
        ]
    made = name.replace("_", " ").title().replace(" ", "")
    if keyword.iskeyword(name) or keyword.iskeyword(made) or made in _port_imports():
        return [f"name {name!r}: the class {made} would hide another of that name; choose another"]
    if name in families():
        return [f"name {name!r} is a family's, and {name.upper()} may be a port's; choose another"]
    return []


def clash_of(name: str) -> str:
    """Which installed port has a name already, and what to do; empty where none has."""
    offers = {p.name.upper(): p.dist.name if p.dist else "?" for p in entry_points(group=GROUP)}
    if name.upper() not in offers:
        return ""
    whose = offers[name.upper()]
    return f"name {name!r}: {name.upper()} is offered by {whose} already; choose another, or uninstall that"


def _port_imports() -> set[str]:
    """What a port's file imports: names that its class cannot have."""
    module = ast.parse((TREE.parent / "port.py").read_text(encoding="utf-8"))
    names = {a.asname or a.name for n in module.body if isinstance(n, ast.ImportFrom) for a in n.names}
    return names | {"Any", "Mapping", "Sequence", "ClassVar", "Path", "Adreno", "OpenCL", "Metal", "Dispatch"}


def _dtypes(answers: Mapping[str, Any]) -> list[str]:
    words = [w for w in re.split(r"[\s,]+", str(answers["dtypes"]).strip()) if w]
    every = [*INTEGERS, *FLOATS]
    lacks = families()[answers["family"]]["lacks"].split()
    faults = []
    if not words:
        faults.append(f"dtypes is empty: write {EVERY}, or some of {', '.join(every)}")
    for word in words:
        if word != EVERY and word not in every:
            close = get_close_matches(word, every, 1)
            hint = f" Did you mean {close[0]}?" if close else f" There are {', '.join(every)}"
            faults.append(f"dtypes: no dtype is called {word!r}.{hint}")
        elif word in lacks:
            faults.append(f"dtypes: {word} does not exist in the family {answers['family']}; leave it out")
    return faults
