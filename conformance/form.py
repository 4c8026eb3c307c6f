"""The form of a certificate: held against its published JSON Schema."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import CertificateError
from . import certificate
from .certificate import SCHEMA, Document

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

ADDED_LATER = frozenset(
    {
        *("rungs[].expected", "rungs[].seconds", "primitives.host"),
        *("suite.commit", "suite.dirty", "suite.tier", "speed"),
        *("accuracy.*.*.p99", "accuracy.*.*.mean", "accuracy.*.*.histogram"),
    }
)
"""Fields that the first certificates lack. They are refused, and can still be compared and shown."""
MOST_WORDS = 160


@dataclass(frozen=True)
class Form:
    """What is wrong with the form of a document.

    Attributes:
        missing: the fields that it lacks and earlier certificates lacked too, as "rungs[].expected".
        faults: everything else, one line each.
    """

    missing: tuple[str, ...]
    faults: tuple[str, ...]


def form(document: object) -> Form:
    """Holds a document against the schema."""
    missing, faults = dict[str, None](), dict[str, None]()
    for error in _validator().iter_errors(document):
        where = _where(error)
        if error.validator != "required":
            path = ".".join(_step(step) for step in error.absolute_path)
            faults[f"{path or 'the document'}: {_brief(error)}"] = None
            continue
        for name in error.validator_value:
            if name not in error.instance:
                field = f"{where}.{name}".lstrip(".")
                kind = missing if field in ADDED_LATER else faults
                kind[field if kind is missing else f"{field} is missing"] = None
    return Form(tuple(missing), tuple(faults))


def read(path: Path) -> Document:
    """A certificate that can be shown or compared: its hash is right and its form known, of old too.

    Raises:
        CertificateError: when it cannot be read, was changed, or has another form.
    """
    document = certificate.load(path)
    faults = form(document).faults
    if faults:
        raise CertificateError(f"{path}: not in the form of a certificate: {'; '.join(faults[:3])}")
    return document


def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(formats=())
    formats.checks("date-time")(_is_moment)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return Draft202012Validator(schema, format_checker=formats)


def _is_moment(value: object) -> bool:
    """A date and time that says its zone; what is not text is another rule's to refuse."""
    if not isinstance(value, str):
        return True
    try:
        return datetime.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _where(error: ValidationError) -> str:
    """The place that a rule of the schema is about: "accuracy.*.*" for each primitive and dtype."""
    return "".join(_steps(error.absolute_schema_path)).lstrip(".")


def _steps(path: Any) -> Iterator[str]:
    steps = iter(path)
    for step in steps:
        if step == "properties":
            yield f".{next(steps)}"
        elif step == "items":
            yield "[]"
        elif step == "additionalProperties":
            yield ".*"


def _step(step: object) -> str:
    """A key or an index; a key is another's text."""
    text = str(step)
    return text if text.isprintable() else ascii(text)


def _brief(error: ValidationError) -> str:
    """jsonschema's words, which quote the value however long it is."""
    said = str(error.message)
    return said if len(said) <= MOST_WORDS else f"{said[:MOST_WORDS]}…"
