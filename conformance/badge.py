"""The badge: one line of a certificate as a small picture (SVG), for a README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import CertificateError
from .tiers import SuiteTier

TEMPLATE = Path(__file__).with_name("badge.svg.j2")
GOOD, LIMITED, BAD = "#2a7f3b", "#9a6700", "#b62324"


def badge(document: Mapping[str, Any]) -> str:
    """The badge of a certificate: whose, how many cases passed of how many, the evidence and tier."""
    from jinja2 import Environment, StrictUndefined

    outcomes = [case["outcome"] for case in document["cases"].values()]
    passed, asked = outcomes.count("passed"), document["suite"]["cases"]
    tier = SuiteTier(document["suite"].get("tier", SuiteTier.STANDARD.value))
    whole = "" if tier is SuiteTier.STANDARD else f", {tier.value}"
    whole += "" if document["suite"]["complete"] else ", a part"
    colour = {"passed": GOOD, "conditional": LIMITED, "failed": BAD}[document["verdict"]]
    is_less = tier is SuiteTier.QUICK or not document["suite"]["complete"]
    if is_less and colour == GOOD:
        colour = LIMITED
    made = Environment(
        undefined=StrictUndefined, autoescape=True, trim_blocks=True, keep_trailing_newline=True
    )
    return made.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        label=f"{document['port']['opened_as']} conformance",
        message=f"{passed}/{asked} {document['evidence']}{whole}",
        colour=colour,
    )


def save(document: Mapping[str, Any], path: Path) -> None:
    """Writes the badge of a certificate.

    Raises:
        CertificateError: when the file cannot be written.
    """
    try:
        path.write_text(badge(document), encoding="utf-8")
    except OSError as e:
        raise CertificateError(f"cannot write {path}: {e.strerror}") from e
