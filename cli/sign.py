"""``portwright sign``: a certificate gets a signature, where the key is and not where the device is."""

from __future__ import annotations

from pathlib import Path

import click

from .screen import ask_passphrase


@click.command()
@click.argument("certificate", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A private Ed25519 key, PEM or OpenSSH.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the signed certificate here, and not over the other.",
)
def sign(certificate: Path, key: Path, output: Path | None) -> int:
    """Sign CERTIFICATE with an Ed25519 key; a signature that it has is replaced.

    Keys: openssl genpkey -algorithm ed25519 -out acme.key, or ssh-keygen -t ed25519. A certificate whose
    hash or form is wrong is not signed.
    """
    from ..conformance import certificate as documents
    from ..conformance.form import read
    from ..conformance.signing import private_key

    signer = private_key(key, lambda: ask_passphrase(key))
    documents.save(signer.sign(read(certificate)), output or certificate)
    click.echo(f"{output or certificate}: signed by {signer.public}")
    return 0
