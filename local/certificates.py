"""The local certificate authority, and the certificate of the local Azure that it signs.

Azure's clients send their tokens over HTTPS only. So local Azure has a certificate, containers and
commands trust its authority, and nothing else on the machine does.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import certifi
import trustme
from cryptography import x509

from local.settings import HOST_ALIAS, Settings

_AUTHORITY = "authority.pem"
_AUTHORITY_KEY = "authority-key.pem"
_SERVER = "server.pem"

_PRIVATE = 0o600


def ensure(settings: Settings, hosts: Iterable[str]) -> None:
    """Make the certificates where they are missing, or don't name every host.

    The authority is made once, so that containers which trust it keep doing so.

    Args:
        settings: the stack.
        hosts: addresses beside loopback at which local Azure listens.
    """
    folder = settings.certificates
    folder.mkdir(parents=True, exist_ok=True)
    names = {"localhost", "127.0.0.1", HOST_ALIAS, *hosts}
    authority = _authority(folder)
    server = folder / _SERVER
    if not server.exists() or not names <= _names(server):
        leaf = authority.issue_cert(*sorted(names))
        _write_private(server, leaf.private_key_and_cert_chain_pem.bytes())
    bundle = host_bundle(os.environ).read_bytes() + b"\n" + authority.cert_pem.bytes()
    # In place: containers have the file itself mounted.
    if (
        not settings.certificate_bundle.exists()
        or settings.certificate_bundle.read_bytes() != bundle
    ):
        settings.certificate_bundle.write_bytes(bundle)


def host_bundle(environment: Mapping[str, str]) -> Path:
    """The authorities that this machine trusts, a company's own among them where it says so."""
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        path = Path(environment.get(name) or "/nonexistent")
        if path.is_file():
            return path
    return Path(certifi.where())


def _authority(folder: Path) -> trustme.CA:
    certificate, key = folder / _AUTHORITY, folder / _AUTHORITY_KEY
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    # Other files follow from the authority and are made anew with it.
    (folder / _SERVER).unlink(missing_ok=True)
    authority = trustme.CA(organization_name="Local Azure")
    _write_private(key, authority.private_key_pem.bytes())
    certificate.write_bytes(authority.cert_pem.bytes())
    return authority


def _names(server: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(server.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return {
        *names.get_values_for_type(x509.DNSName),
        *(str(each) for each in addresses if isinstance(each, ipaddress.IPv4Address)),
    }


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
