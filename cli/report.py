"""``portwright report``: a certificate as one page that a browser shows."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("certificate", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page here; without, beside the certificate.",
)
def report(certificate: Path, output: Path | None) -> int:
    """Make a page (HTML) of CERTIFICATE: one file that needs no network and runs no script.

    The page says what portwright verify says of the certificate; one that was edited gets none.
    """
    from ..conformance.form import read
    from ..conformance.page import page, save
    from ..conformance.verify import verify

    document = read(certificate)
    path = output or certificate.with_suffix(".html")
    save(page(document, verify(certificate.read_bytes())), path)
    click.echo(f"page: {path}")
    return 0
