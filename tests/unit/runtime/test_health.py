from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from cronq.domain.errors import ConfigError
from cronq.runtime.health import HealthServer, liveness, metrics_text, readiness, series

DEADLINE_S = 10.0


class State:
    def __init__(self) -> None:
        self.checks: dict[str, str | None] = {"store": None, "bus": None}
        self.counters: dict[str, float] = {}


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def server(state: State) -> Iterator[HealthServer]:
    server = HealthServer("127.0.0.1", 0, checks=lambda: state.checks, counters=lambda: state.counters)
    yield server
    server.close()


def get(server: HealthServer, path: str, method: str = "GET") -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
            return reply.status, reply.headers["Content-Type"], reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_readiness_is_503_while_any_check_has_a_problem() -> None:
    assert readiness({"store": None}) == (200, {"status": "ready", "checks": {"store": "ok"}})
    assert readiness({"store": None, "bus": "refused by amqp://u:pw@h/"}) == (
        503,
        {"status": "not ready", "checks": {"store": "ok", "bus": "refused by amqp://u:***@h/"}},
    )


def test_service_without_checks_is_ready() -> None:
    assert readiness({})[0] == 200


def test_metrics_group_families_and_tell_counters_from_gauges() -> None:
    text = metrics_text(
        {
            series("cronq_runs_finished_total", category="b", status="failed"): 2,
            "cronq_slots": 4.5,
            series("cronq_runs_finished_total", category="a", status="failed"): 1_234_567_890_123,
            "cronq_runs_finished_total_more": 1,
        }
    )
    build, *rest = [line for line in text.splitlines() if "build_info" not in line or "{" in line]
    assert build.startswith('cronq_build_info{version="')
    assert rest == [
        "# TYPE cronq_runs_finished_total counter",
        'cronq_runs_finished_total{category="a",status="failed"} 1234567890123',
        'cronq_runs_finished_total{category="b",status="failed"} 2',
        "# TYPE cronq_runs_finished_total_more gauge",
        "cronq_runs_finished_total_more 1",
        "# TYPE cronq_slots gauge",
        "cronq_slots 4.5",
    ]


def test_labels_are_escaped() -> None:
    assert series("x", name='a"b\\c\nd') == 'x{name="a\\"b\\\\c\\nd"}'


def test_alive_whatever_the_checks_say(server: HealthServer, state: State) -> None:
    state.checks["bus"] = "refused"
    assert get(server, "/healthz") == (200, "application/json", json.dumps(liveness()) + "\n")


def test_ready_follows_the_checks(server: HealthServer, state: State) -> None:
    assert get(server, "/readyz")[0] == 200
    state.checks["bus"] = "refused"
    status, content_type, body = get(server, "/readyz")
    assert (status, content_type) == (503, "application/json")
    assert json.loads(body)["checks"] == {"store": "ok", "bus": "refused"}
    state.checks["bus"] = None
    assert get(server, "/readyz")[0] == 200


def test_metrics_are_prometheus_text(server: HealthServer, state: State) -> None:
    state.counters["cronq_runs_published_total"] = 3
    status, content_type, body = get(server, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "cronq_runs_published_total 3\n" in body


def test_head_has_no_body_and_other_paths_are_404(server: HealthServer) -> None:
    assert get(server, "/healthz", "HEAD")[2] == ""
    assert get(server, "/secret")[0] == 404
    assert get(server, "/healthz", "POST")[0] == 501


def test_check_that_breaks_costs_only_its_own_request(server: HealthServer, state: State) -> None:
    state.checks = None  # type: ignore[assignment]  # makes the check raise
    with pytest.raises(OSError, match="closed connection"):
        get(server, "/readyz")
    assert get(server, "/healthz")[0] == 200


def test_closed_server_lets_its_port_go(state: State) -> None:
    server = HealthServer("127.0.0.1", 0, checks=lambda: state.checks, counters=dict)
    server.close()
    again = HealthServer("127.0.0.1", server.port, checks=lambda: state.checks, counters=dict)
    again.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_address_of_another_host_is_a_wrong_setting(state: State, host: str) -> None:
    with pytest.raises(ConfigError, match=f"CRONQ_HEALTH_PORT: cannot listen on {host} port 0: "):
        HealthServer(host, 0, checks=lambda: state.checks, counters=dict)


def test_taken_port_is_a_wrong_setting(state: State) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: Address already in use .errno 98, EADDRINUSE"):
            HealthServer("127.0.0.1", port, checks=lambda: state.checks, counters=dict)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_address_is_listened_on(state: State) -> None:
    try:
        server = HealthServer("::1", 0, checks=lambda: state.checks, counters=dict)
    except ConfigError:
        pytest.skip("no IPv6 loopback here")
    with socket.create_connection(("::1", server.port), timeout=DEADLINE_S):
        pass
    server.close()
