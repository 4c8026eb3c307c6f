"""``portwright verify``: whether a certificate can be trusted, and what it claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from ..core.errors import CertificateError
from .screen import console, foreign, plain, write_json

if TYPE_CHECKING:
    from ..conformance.verify import Verification

MOST_LINES = 8
"""Lines that one claim takes on a terminal."""


@click.command()
@click.argument("certificate", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The public key (PEM or OpenSSH) that must have signed it.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def verify(certificate: Path, key: Path | None, as_json: bool) -> int:
    """Check that CERTIFICATE is whole, unchanged and consistent, and say what it claims.

    Exit status: 0 when it is accepted, 1 when it is refused (each reason in one line), 2 when it could not
    be checked. Without --key anybody may have signed it, or nobody.
    """
    from ..conformance.claims import claims
    from ..conformance.signing import public_key
    from ..conformance.verify import verify as check

    trusted = public_key(key) if key is not None else None
    try:
        data = certificate.read_bytes()
    except OSError as e:
        raise CertificateError(f"{certificate}: {e.strerror}") from e
    found = check(data, trusted)
    if as_json:
        said = claims(found.document) if found.accepted and found.document is not None else ()
        write_json(
            {
                "accepted": found.accepted,
                "problems": found.problems,
                "notes": found.notes,
                "signed_by": found.signed_by,
                "trusted": found.trusted,
                "claims": {c.about: plain(c.lines) for c in said},
            }
        )
        return 0 if found.accepted else 1
    out = console()
    if not found.accepted or found.document is None:
        for problem in found.problems:
            out.print(Text.assemble(("refused: ", "bold red"), foreign(problem)))
        return 1
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for claim in claims(found.document):
        lines = [foreign(line) for line in claim.lines[:MOST_LINES]]
        if len(claim.lines) > MOST_LINES:
            lines.append(f"… and {len(claim.lines) - MOST_LINES} more")
        table.add_row(Text(claim.about, style="bold"), Text("\n".join(lines)))
    table.add_row(Text("signed", style="bold"), Text(signer(found)))
    out.print(table)
    for note in found.notes:
        out.print(Text.assemble(("note: ", "yellow"), foreign(note)))
    whole = f"{certificate} is whole, and says {found.document['verdict']}; sha256 {found.document['sha256']}"
    out.print(Text.assemble(("accepted: ", "bold green"), foreign(whole)))
    return 0


def signer(found: Verification) -> str:
    """Who signed a certificate, and what that is worth."""
    if found.signed_by is None:
        return "by nobody: whoever had the file could have written it anew"
    if found.trusted:
        return f"by the key that you trust, {found.signed_by}"
    return f"by {found.signed_by}, a key not trusted by you (--key FILE says which one you do)"
