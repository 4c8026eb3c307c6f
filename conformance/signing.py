"""Signatures of certificates: Ed25519, over the canonical document without the signature itself.

Keys are files as openssl and ssh-keygen make them: PEM or OpenSSH, private to sign with and public to trust.
The ``cryptography`` package does the work and is imported only here (``pip install 'portwright[sign]'``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ArgumentError, CertificateError
from .certificate import Document, canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "ed25519"
MEND = "make one with: openssl genpkey -algorithm ed25519 -out acme.key"

Passphrase = Callable[[], str]
"""Asks for the passphrase of a key; called only when the key has one."""


class SigningKey:
    """A private key that signs certificates.

    Attributes:
        public: the public key, 32 bytes in hex.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw().hex()

    def sign(self, document: Mapping[str, Any]) -> Document:
        """The document with this key's signature, which takes the place of one that it had."""
        value = self._key.sign(body(document)).hex()
        return {
            **document,
            "signature": {"algorithm": ALGORITHM, "public_key": self.public, "value": value},
        }


def body(document: Mapping[str, Any]) -> bytes:
    """What a signature is of."""
    return canonical({k: v for k, v in document.items() if k != "signature"})


def private_key(path: Path, passphrase: Passphrase) -> SigningKey:
    """The key that a file holds.

    Raises:
        ArgumentError: when it cannot be read, or holds no private Ed25519 key, or the passphrase is wrong.
        CertificateError: when the package that signs is not installed.
    """
    _need()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read(path)
    if b"PRIVATE KEY-----" not in data:
        raise ArgumentError(f"{path} holds no private key in PEM or OpenSSH form; {MEND}")
    try:
        key = _load_private(data, None)
    except TypeError:  # it is encrypted
        try:
            key = _load_private(data, passphrase().encode())
        except ValueError as e:
            raise ArgumentError(f"{path}: the passphrase is wrong, or the key is damaged") from e
    except ValueError as e:
        raise ArgumentError(f"{path}: not a key that can be read: {_first_line(e)}; {MEND}") from e
    if not isinstance(key, Ed25519PrivateKey):
        raise ArgumentError(f"{path} holds another kind of key than Ed25519; {MEND}")
    return SigningKey(key)


def public_key(path: Path) -> str:
    """The public key that a file holds, 32 bytes in hex.

    Raises:
        ArgumentError: when it cannot be read, or holds no public Ed25519 key.
        CertificateError: when the package that checks signatures is not installed.
    """
    _need()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = _read(path)
    if b"PRIVATE KEY-----" in data:
        raise ArgumentError(
            f"{path} holds a private key, which stays with who signs; "
            f"its public one: openssl pkey -in {path} -pubout"
        )
    is_pem = b"-----BEGIN" in data
    load = serialization.load_pem_public_key if is_pem else serialization.load_ssh_public_key
    try:
        key = load(data)
    except (ValueError, UnsupportedAlgorithm) as e:
        raise ArgumentError(f"{path} holds no public key in PEM or OpenSSH form: {_first_line(e)}") from e
    if not isinstance(key, Ed25519PublicKey):
        raise ArgumentError(f"{path} holds another kind of key than Ed25519")
    return key.public_bytes_raw().hex()


def fits(document: Mapping[str, Any]) -> bool:
    """Whether the signature of a document, which has one in its right form, is of what the document says.

    Raises:
        CertificateError: when the package that checks signatures is not installed.
    """
    _need()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signature = document["signature"]
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signature["public_key"]))
        key.verify(bytes.fromhex(signature["value"]), body(document))
    except (InvalidSignature, ValueError):  # ValueError: not the bytes of a key
        return False
    return True


def _load_private(data: bytes, password: bytes | None) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    is_ssh = b"OPENSSH PRIVATE KEY" in data
    load = serialization.load_ssh_private_key if is_ssh else serialization.load_pem_private_key
    try:
        return load(data, password)
    except UnsupportedAlgorithm as e:
        raise ArgumentError(f"a kind of key that needs more: {e} (pip install 'portwright[sign]')") from e


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise ArgumentError(f"{path}: {e.strerror}") from e


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _need() -> None:
    try:
        import cryptography.exceptions  # noqa: F401
    except ImportError as e:
        raise CertificateError(
            f"signatures need the package cryptography, which does not import ({e}): "
            "pip install 'portwright[sign]'"
        ) from e
