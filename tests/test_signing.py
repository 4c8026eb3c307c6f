"""Signatures: keys of openssl and ssh-keygen, and what is refused whoever signed it."""

from __future__ import annotations

import builtins
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from certificates import Document, changed, climb, written

from portwright.cli.main import main
from portwright.conformance import certificate, signing
from portwright.conformance.ladder import Rung
from portwright.conformance.verify import verify
from portwright.core.errors import ArgumentError
from portwright.devices.numpy import NumPy

pytest.importorskip("cryptography", reason="signatures need the extra portwright[sign]")


@pytest.fixture(scope="module")
def document() -> Document:
    return climb(NumPy(), [Rung.OPEN])


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of key pairs, NAME and NAME.pub."""
    for program in ("openssl", "ssh-keygen"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} makes the keys, and is not on the PATH")
    folder = tmp_path_factory.mktemp("keys")
    for command in (
        "openssl genpkey -algorithm ed25519 -out pem",
        "openssl pkey -in pem -pubout -out pem.pub",
        "openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret -out locked",
        "openssl pkey -in locked -passin pass:secret -pubout -out locked.pub",
        "openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out rsa",
        "openssl pkey -in rsa -pubout -out rsa.pub",
        "ssh-keygen -q -t ed25519 -N  -C somebody -f ssh",
        "ssh-keygen -q -t ed25519 -N secret -a 1 -C somebody -f sealed",
        "ssh-keygen -q -t ecdsa -N  -f ecdsa",
    ):
        subprocess.run(command.split(" "), cwd=folder, check=True, capture_output=True)
    return folder


def no_passphrase() -> str:
    raise AssertionError("nothing is to be asked")


def signed(document: Document, key: Path) -> Document:
    return signing.private_key(key, no_passphrase).sign(document)


def check(document: Document, key: str | None = None) -> Any:
    return verify(certificate.canonical(document), key)


@pytest.mark.parametrize("name", ["pem", "ssh"])
def test_a_signature_is_checked_by_its_public_key(document: Document, keys: Path, name: str) -> None:
    made = signed(document, keys / name)
    public = signing.public_key(keys / f"{name}.pub")
    assert (
        made["sha256"] == document["sha256"] == certificate.digest(made)
    )  # signing does not change the hash
    assert made["signature"]["public_key"] == public
    found = check(made, public)
    assert (found.problems, found.signed_by, found.trusted) == ((), public, True)
    anybody = check(made)
    assert (anybody.problems, anybody.signed_by, anybody.trusted) == ((), public, False)


@pytest.mark.parametrize("name", ["locked", "sealed"])
def test_a_key_may_have_a_passphrase(document: Document, keys: Path, name: str) -> None:
    made = signing.private_key(keys / name, lambda: "secret").sign(document)
    assert check(made, signing.public_key(keys / f"{name}.pub")).trusted
    with pytest.raises(ArgumentError, match="the passphrase is wrong"):
        signing.private_key(keys / name, lambda: "other")


def test_openssl_agrees(document: Document, keys: Path, tmp_path: Path) -> None:
    made = signed(document, keys / "pem")
    (tmp_path / "body").write_bytes(signing.body(made))
    (tmp_path / "signature").write_bytes(bytes.fromhex(made["signature"]["value"]))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(keys / "pem.pub"), "-rawin"]
    command += ["-in", str(tmp_path / "body"), "-sigfile", str(tmp_path / "signature")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Verified Successfully" in ran.stdout, ran.stderr


def test_an_edited_one_is_refused_sealed_anew_or_not(document: Document, keys: Path) -> None:
    made = signed(document, keys / "pem")
    edited = {**made, "made_at": "2020-01-01T00:00:00+00:00"}
    said = "its signature is of other content"
    assert [p.partition(":")[0] for p in check(edited).problems] == ["it was edited", said]
    (problem,) = check(certificate.seal(edited)).problems
    assert problem.startswith(said)
    assert check(certificate.seal(edited)).signed_by is None


def test_one_that_was_edited_and_signed_by_another_is_refused(document: Document, keys: Path) -> None:
    ours, theirs = (signing.public_key(keys / f"{name}.pub") for name in ("pem", "ssh"))
    edited = changed(document, lambda d: d.update(made_at="2020-01-01T00:00:00+00:00"))
    made = signed(edited, keys / "ssh")
    assert check(made, ours).problems == (f"another key signed it: {theirs}, and not {ours}",)
    assert not check(made, ours).trusted
    borrowed = {**made, "signature": {**made["signature"], "public_key": ours}}
    assert check(borrowed, ours).problems[0].startswith("its signature is of other content")
    assert check(borrowed, ours).signed_by is None


def test_a_signature_that_was_taken_away_is_missed(document: Document, keys: Path) -> None:
    ours = signing.public_key(keys / "pem.pub")
    assert check(document, ours).problems == (f"it is not signed, and the key {ours} must have signed it",)


@pytest.mark.parametrize(
    "change",
    [{"algorithm": "none"}, {"value": "00"}, {"public_key": "AB" * 32}, {"extra": 1}],
    ids=["algorithm", "value", "key", "extra"],
)
def test_a_signature_of_another_form_is_refused(document: Document, keys: Path, change: Document) -> None:
    made = signed(document, keys / "pem")
    found = check(
        {**made, "signature": {**made["signature"], **change}}, signing.public_key(keys / "pem.pub")
    )
    assert found.problems[0].startswith("its form is wrong: signature")
    assert not found.trusted


def test_bytes_that_are_no_key_sign_nothing(document: Document) -> None:
    made = {**document, "signature": {"algorithm": "ed25519", "public_key": "ff" * 32, "value": "00" * 64}}
    assert [p.partition(":")[0] for p in check(made).problems] == ["its signature is of other content"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "No such file"),
        ("pem.pub", "no private key"),
        ("rsa", "another kind of key than Ed25519; make one with: openssl genpkey -algorithm ed25519"),
        ("ecdsa", "another kind of key than Ed25519"),
    ],
)
def test_what_is_no_private_key(keys: Path, name: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        signing.private_key(keys / name, no_passphrase)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("absent", "No such file"),
        ("pem", "holds a private key, which stays with who signs"),
        ("rsa.pub", "another kind of key"),
        ("ecdsa.pub", "another kind of key"),
        ("odd", "no public key"),
    ],
)
def test_what_is_no_public_key(keys: Path, name: str, said: str) -> None:
    (keys / "odd").write_text("-----BEGIN NOTHING-----\n")
    with pytest.raises(ArgumentError, match=said):
        signing.public_key(keys / name)


def test_the_commands(
    document: Document, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = written(document, tmp_path / "c.json"), tmp_path / "signed.json"
    ours = signing.public_key(keys / "pem.pub")
    assert main(["sign", str(path), "--key", str(keys / "pem"), "-o", str(out)]) == 0
    assert f"signed by {ours}" in capsys.readouterr().out
    assert "signature" not in certificate.load(path)
    assert main(["verify", str(out), "--key", str(keys / "pem.pub")]) == 0
    assert f"by the key that you trust, {ours}" in capsys.readouterr().out
    assert main(["verify", str(out)]) == 0
    assert "not trusted by you" in capsys.readouterr().out
    assert main(["verify", str(out), "--key", str(keys / "ssh.pub")]) == 1
    assert "refused: another key signed it" in capsys.readouterr().out
    assert main(["sign", str(out), "--key", str(keys / "ssh")]) == 0  # over the other signature
    assert certificate.load(out)["signature"]["public_key"] == signing.public_key(keys / "ssh.pub")


def test_certify_signs(keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = ["certify", "NUMPY", "--jobs", "0", "--rung", "open"]
    out = tmp_path / "c.json"
    assert main([*quick, "-o", str(out), "--sign", str(keys / "pem")]) == 0
    ours = signing.public_key(keys / "pem.pub")
    assert f"signed by {ours}" in capsys.readouterr().out
    assert verify(out.read_bytes(), ours).trusted
    assert main([*quick, "--json", "--sign", str(keys / "pem")]) == 0
    assert json.loads(capsys.readouterr().out)["signature"]["public_key"] == ours
    assert main([*quick, "--sign", str(keys / "pem")]) == 2
    assert "say -o FILE" in capsys.readouterr().err
    assert main([*quick, "-o", str(out), "--sign", str(keys / "absent")]) == 2  # before anything is run
    assert "No such file" in capsys.readouterr().err


def test_an_edited_certificate_is_not_signed(
    document: Document, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written({**document, "verdict": "failed"}, tmp_path / "c.json")
    assert main(["sign", str(path), "--key", str(keys / "pem")]) == 2
    assert "was changed" in capsys.readouterr().err
    assert "signature" not in json.loads(path.read_bytes())


def test_without_the_package_it_says_what_to_install(
    document: Document,
    keys: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, plain = (
        written(signed(document, keys / "pem"), tmp_path / "s.json"),
        written(document, tmp_path / "c.json"),
    )
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "cryptography":
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for command in (["verify", str(out)], ["sign", str(plain), "--key", str(keys / "pem")]):
        assert main(command) == 2
        assert "pip install 'portwright[sign]'" in capsys.readouterr().err
    assert main(["verify", str(plain)]) == 0  # what is not signed needs none
