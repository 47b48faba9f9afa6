"""The local authority and the certificates that it signs."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest
from cryptography import x509

from local import certificates
from local.settings import HOST_ALIAS, Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("local.settings.SHARED", tmp_path)
    return Settings()


def names(settings: Settings) -> set[str]:
    server = x509.load_pem_x509_certificate((settings.certificates / "server.pem").read_bytes())
    found = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = found.get_values_for_type(x509.IPAddress)
    return {*found.get_values_for_type(x509.DNSName), *map(str, addresses)}


def test_the_server_is_trusted_under_every_name_by_who_has_the_bundle(settings: Settings) -> None:
    certificates.ensure(settings, ["172.17.0.1"])
    assert names(settings) == {"127.0.0.1", "172.17.0.1", "localhost", HOST_ALIAS}
    client = ssl.create_default_context(cafile=settings.certificate_bundle)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(settings.certificates / "server.pem")
    for name in names(settings):
        handshake(client, server, name)


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=name)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [near, far]
    while waiting:
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue


def test_keys_are_for_their_owner_alone(settings: Settings) -> None:
    certificates.ensure(settings, [])
    for name in ("server.pem", "authority-key.pem"):
        assert (settings.certificates / name).stat().st_mode & 0o077 == 0


def test_nothing_is_made_twice(settings: Settings) -> None:
    certificates.ensure(settings, ["172.17.0.1"])
    before = {path: path.stat().st_mtime_ns for path in settings.certificates.iterdir()}
    certificates.ensure(settings, ["172.17.0.1"])
    certificates.ensure(settings, [])
    assert {path: path.stat().st_mtime_ns for path in settings.certificates.iterdir()} == before


def test_a_new_address_changes_the_server_and_not_the_authority(settings: Settings) -> None:
    certificates.ensure(settings, [])
    before = settings.certificate_bundle.read_bytes()
    certificates.ensure(settings, ["172.18.0.1"])
    assert "172.18.0.1" in names(settings)
    assert settings.certificate_bundle.read_bytes() == before


def test_the_bundle_has_the_authorities_of_the_machine(tmp_path: Path) -> None:
    own = tmp_path / "company.pem"
    own.touch()
    assert certificates.host_bundle({"SSL_CERT_FILE": str(own)}) == own
    assert certificates.host_bundle({"REQUESTS_CA_BUNDLE": str(own)}) == own
    gone = {"SSL_CERT_FILE": str(tmp_path / "gone.pem"), "REQUESTS_CA_BUNDLE": ""}
    assert certificates.host_bundle(gone) == Path(certifi.where())
