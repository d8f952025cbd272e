"""amqps: the certificate and its host name are checked."""

from __future__ import annotations

import datetime as dt
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cronq import bus
from cronq.bus import Bus, Confirm, Message
from cronq.bus.topology import shared_queues
from cronq.domain.errors import ConfigError
from tests.conftest import private_server
from tests.servers import RabbitMQ, free_port

pytestmark = [pytest.mark.integration, pytest.mark.servers]

Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certify(folder: Path, name: str, by: Authority | None = None) -> Authority:
    """Write `name`.pem and `name`.key: an authority, or a server's certificate by one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.2"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(by[1] if by else key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, key


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    certify(folder, "server", by=certify(folder, "authority"))
    certify(folder, "stranger")
    return folder


@pytest.fixture(scope="module")
def port(certificates: Path) -> Iterator[int]:
    """Where a broker listens with TLS."""
    chosen = free_port()

    def with_tls() -> RabbitMQ:
        broker = RabbitMQ()
        broker.settings = [
            f"listeners.ssl.1 = 127.0.0.1:{chosen}",
            f"ssl_options.cacertfile = {certificates}/authority.pem",
            f"ssl_options.certfile = {certificates}/server.pem",
            f"ssl_options.keyfile = {certificates}/server.key",
        ]
        return broker

    for _ in private_server("rabbitmq", with_tls):
        yield chosen


@pytest.fixture
def open_bus() -> Iterator[Callable[[str], Bus]]:
    opened: list[Bus] = []

    def opener(url: str) -> Bus:
        opened.append(bus.open(url, name="tls"))
        return opened[-1]

    yield opener
    for one in opened:
        one.close()


def error_of(a_bus: Bus) -> str:
    deadline = time.monotonic() + 10
    while a_bus.last_error is None and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert not a_bus.is_connected()
    return str(a_bus.last_error)


def test_a_trusted_certificate_of_the_right_host_is_used(
    open_bus: Callable[[str], Bus], certificates: Path, port: int
) -> None:
    one = open_bus(f"amqps://localhost:{port}/?cacertfile={certificates}/authority.pem")

    one.declare(shared_queues())

    assert one.publish([Message("default", b"{}")] * 1000, 30) == [Confirm.CONFIRMED] * 1000


def test_a_certificate_of_another_host_is_refused(
    open_bus: Callable[[str], Bus], certificates: Path, port: int
) -> None:
    one = open_bus(f"amqps://127.0.0.1:{port}/?cacertfile={certificates}/authority.pem")

    assert "certificate is not valid for '127.0.0.1'" in error_of(one)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    open_bus: Callable[[str], Bus], certificates: Path, port: int
) -> None:
    by_default = open_bus(f"amqps://localhost:{port}/")
    by_another = open_bus(f"amqps://localhost:{port}/?cacertfile={certificates}/stranger.pem")

    assert "certificate verify failed" in error_of(by_default)
    assert "certificate verify failed" in error_of(by_another)


def test_a_missing_authority_file_is_a_wrong_setting(certificates: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.pem"):
        bus.open(f"amqps://localhost/?cacertfile={certificates}/nowhere.pem", name="tls")
