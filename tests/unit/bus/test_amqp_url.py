"""What RABBITMQ_URL means."""

from __future__ import annotations

import pytest

from cronq.bus.amqp_url import Server, Tls, servers
from cronq.domain.errors import ConfigError


@pytest.mark.parametrize("url", ["amqp://h", "amqp://h/", "amqp://h/%2F", "amqp://h:5672/%2f", " amqp://h/ "])
def test_no_path_and_a_slash_mean_the_default_vhost(url: str) -> None:
    assert servers(url) == (Server("h", 5672, "guest", "guest", "/"),)


@pytest.mark.parametrize(
    ("path", "vhost"), [("/cron", "cron"), ("/%2Fcron", "/cron"), ("/a%20b", "a b"), ("/a/b", "a/b")]
)
def test_the_vhost_is_what_follows_the_slash(path: str, vhost: str) -> None:
    assert servers(f"amqp://h{path}")[0].vhost == vhost


def test_hosts_in_one_url_share_login_vhost_options_and_the_last_port() -> None:
    found = servers("amqp://u:p@h1,h2:5673,h3:7/v?heartbeat=30")

    assert [(one.host, one.port) for one in found] == [("h1", 7), ("h2", 5673), ("h3", 7)]
    assert {(one.user, one.password, one.vhost, one.heartbeat_s) for one in found} == {("u", "p", "v", 30)}


def test_whole_urls_may_follow_each_other() -> None:
    first, second = servers("amqp://a:b@h1/x,amqps://c:d@h2/y?cacertfile=/ca.pem")

    assert first == Server("h1", 5672, "a", "b", "x")
    assert second == Server("h2", 5671, "c", "d", "y", tls=Tls("/ca.pem"))


def test_user_and_password_are_percent_decoded() -> None:
    [server] = servers("amqp://us%40er:p%2Fa%3As%2Cs+%25@h/")

    assert (server.user, server.password) == ("us@er", "p/a:s,s+%")


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert [(one.host, one.port) for one in servers("amqp://[::1]:5673,[fe80::1]/")] == [
        ("::1", 5673),
        ("fe80::1", 5672),
    ]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("amqp://h:99999/", "99999"),
        ("amqp://h:0/", "port 0"),
        ("amqp:///v", "hosts ''"),
        ("amqp://h,/v", "hosts 'h,'"),
        ("amqp://h/?heartbeat=-1", "heartbeat='-1'"),
        ("amqp://h/?heartbeat=70000", "heartbeat='70000'"),
        ("amqp://h/?hartbeat=5", "'hartbeat'; amqp allows heartbeat"),
        ("amqp://h/?cacertfile=/ca.pem", "'cacertfile'"),
        ("http://h/", "amqp\\[s\\]://"),
    ],
)
def test_what_cannot_be_read_is_named(url: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        servers(url)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://user:sesame/x@h/",
        "amqp://user:x?sesame@h/",
        "amqp://user:x#sesame@h/",
        "amqp://user:sesame@h:99999/",
        "amqp://user:sesame@h/?sesame",
        "amqp://user:ses@me@h:0/",
    ],
)
def test_no_error_tells_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        servers(url.replace("/?sesame", "/?heartbeat=x"))

    assert "sesame" not in str(raised.value)
    assert "ses@me" not in str(raised.value)


def test_a_server_shows_no_password() -> None:
    [server] = servers("amqp://user:sesame@h/")

    assert "sesame" not in f"{server} {server!r}"
