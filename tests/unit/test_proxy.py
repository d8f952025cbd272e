"""The proxy that stands for a bad network, between a client and a server that echoes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.proxy import Proxy, Way

SOON_S = 5.0
QUIET_S = 0.3  # nothing came for so long: an echo on this machine takes a millisecond


class Echo:
    """Sends back what it gets, and remembers it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard = b""
        self._is_heard = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    with self._is_heard:
                        self.heard += data
                        self._is_heard.notify_all()
                    connection.sendall(data)
            except OSError:
                return

    def wait_for(self, text: bytes) -> None:
        with self._is_heard:
            assert self._is_heard.wait_for(lambda: text in self.heard, SOON_S), self.heard

    def close(self) -> None:
        if self._listener.fileno() >= 0:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as made:
        yield made


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    """Connected, and heard already."""
    with connect(proxy) as made:
        assert said(made, b"hello") == b"hello"
        yield made


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), SOON_S)


def said(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return received(client, len(text))


def received(client: socket.socket, size: int) -> bytes:
    client.settimeout(SOON_S)
    found = b""
    while len(found) < size and (data := client.recv(size - len(found))):
        found += data
    return found


def is_silent(client: socket.socket) -> bool:
    client.settimeout(QUIET_S)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    return False  # the end would be a word as well


def test_it_passes_whatever_comes_in_order(client: socket.socket) -> None:
    text = bytes(range(256)) * 4000

    sender = threading.Thread(target=client.sendall, args=(text,))
    sender.start()

    assert received(client, len(text)) == text
    sender.join()


def test_the_end_of_one_side_reaches_the_other(proxy: Proxy, client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)

    assert received(client, 1) == b""
    deadline = time.monotonic() + SOON_S
    while proxy.connections():
        assert time.monotonic() < deadline


def test_its_url_differs_from_the_servers_in_host_and_port_only(proxy: Proxy) -> None:
    url = proxy.url("mysql+pymysql://root:a%40b@localhost:3306/name?x=1")

    assert url == f"mysql+pymysql://root:a%40b@127.0.0.1:{proxy.port}/name?x=1"


def test_a_delay_holds_in_both_ways(proxy: Proxy, client: socket.socket) -> None:
    proxy.delay(0.2)

    began = time.monotonic()
    assert said(client, b"slow") == b"slow"

    assert time.monotonic() - began >= 0.4


def test_a_throttle_bounds_the_rate(proxy: Proxy, client: socket.socket) -> None:
    proxy.throttle(20_000)

    began = time.monotonic()
    assert said(client, b"x" * 10_000) == b"x" * 10_000

    assert time.monotonic() - began >= 0.5


def test_held_bytes_arrive_after_the_healing(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.hold()
    client.sendall(b"patience")
    assert is_silent(client)
    assert b"patience" not in echo.heard

    proxy.heal()

    assert received(client, 8) == b"patience"


def test_one_way_may_be_held_alone(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.hold(Way.TO_CLIENT)

    client.sendall(b"heard")

    echo.wait_for(b"heard")
    assert is_silent(client)


def test_a_black_hole_accepts_and_answers_nothing(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    proxy.black_hole()

    client.sendall(b"gone")
    with connect(proxy) as late:
        late.sendall(b"gone")

        assert is_silent(late)
    assert is_silent(client)
    assert echo.heard == b"hello"


def test_who_has_lost_bytes_is_reset_by_the_healing(proxy: Proxy, client: socket.socket) -> None:
    proxy.black_hole()
    client.sendall(b"gone")
    assert is_silent(client)

    proxy.heal()

    with pytest.raises(ConnectionResetError):
        received(client, 1)
    with connect(proxy) as fresh:
        assert said(fresh, b"again") == b"again"


def test_who_has_lost_nothing_lives_on_after_a_black_hole(proxy: Proxy, client: socket.socket) -> None:
    proxy.black_hole()
    proxy.heal()

    assert said(client, b"still") == b"still"


def test_a_black_hole_also_swallows_the_end(proxy: Proxy, client: socket.socket, echo: Echo) -> None:
    """As when the other host loses its power: nobody says goodbye."""
    proxy.black_hole()

    client.shutdown(socket.SHUT_WR)

    assert is_silent(client)
    assert proxy.connections() == 1


@pytest.mark.parametrize(("way", "heard"), [(Way.TO_SERVER, False), (Way.TO_CLIENT, True)])
def test_one_way_may_be_lost_alone(
    proxy: Proxy, client: socket.socket, echo: Echo, way: Way, heard: bool
) -> None:
    proxy.swallow(way)

    client.sendall(b"one way")

    assert is_silent(client)
    assert (b"one way" in echo.heard) == heard


def test_refusing_leaves_alone_who_is_connected(proxy: Proxy, client: socket.socket) -> None:
    proxy.refuse()

    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    assert said(client, b"inside") == b"inside"


def test_it_keeps_its_port_while_it_refuses(proxy: Proxy) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)

    proxy.heal()

    with connect(proxy) as client:
        assert said(client, b"open") == b"open"


def test_a_reset_cuts_every_connection_and_accepts_new_ones(proxy: Proxy, client: socket.socket) -> None:
    proxy.reset()

    with pytest.raises(ConnectionResetError):
        received(client, 1)
    with connect(proxy) as fresh:
        assert said(fresh, b"again") == b"again"
    assert proxy.accepted == 2


def test_a_client_is_cut_off_when_no_server_is_there(proxy: Proxy, echo: Echo) -> None:
    echo.close()

    with pytest.raises(ConnectionResetError), connect(proxy) as client:
        received(client, 1)


def test_after_its_end_nobody_listens(proxy: Proxy) -> None:
    proxy.close()
    proxy.close()

    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
