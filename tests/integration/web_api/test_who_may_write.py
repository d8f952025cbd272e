"""Who may write: the matrix of tokens, places and pages, and logging in."""

from __future__ import annotations

import re

import pytest

from cronq.web.enter import one_time_link
from tests.integration.web_api.conftest import Connect
from tests.integration.web_api.support import SECRET_KEY, Answer, Client, job

TOKEN = "t0k3n-of-the-api-9Zq"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HERE = {"REMOTE_ADDR": "127.0.0.1"}


def write(client: Client, headers: dict[str, str] | None = None, **environ: str) -> Answer:
    """A write that changes nothing, because it is a dry run."""
    return client.put(
        "/api/category/ops?dry_run=true",
        json={"jobs": [job()]},
        headers=headers,
        environ_overrides={**HERE, **environ},
    )


@pytest.mark.parametrize(
    ("headers", "environ", "status"),
    [
        ({}, {}, 200),
        ({}, {"REMOTE_ADDR": "127.8.9.1"}, 200),
        ({}, {"REMOTE_ADDR": "::1"}, 200),
        ({}, {"REMOTE_ADDR": "::ffff:127.0.0.1"}, 200),
        ({"Host": "127.0.0.1:5000"}, {}, 200),
        ({"Host": "[::1]:5000"}, {}, 200),
        ({"Host": "cronq.localhost"}, {}, 200),
        ({}, {"REMOTE_ADDR": "192.168.1.7"}, 403),
        ({}, {"REMOTE_ADDR": "::ffff:10.0.0.7"}, 403),
        ({}, {"REMOTE_ADDR": ""}, 403),
        ({}, {"REMOTE_ADDR": "localhost"}, 403),
        ({"X-Forwarded-For": "127.0.0.1"}, {}, 403),
        ({"X-Forwarded-For": ""}, {}, 403),
        ({"X-Real-IP": "127.0.0.1"}, {}, 403),
        ({"Forwarded": "for=127.0.0.1"}, {}, 403),
        ({"Host": "evil.example"}, {}, 403),
        ({"Host": "127.0.0.1.evil.example"}, {}, 403),
        ({"Host": "localhost.evil.example:5000"}, {}, 403),
        ({"Host": "[::1"}, {}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, {}, 200),
        ({"Sec-Fetch-Site": "none"}, {}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, {}, 403),
        ({"Sec-Fetch-Site": "same-site"}, {}, 403),
        ({"Origin": "http://localhost"}, {}, 200),
        ({"Origin": "http://localhost:8001"}, {}, 403),
        ({"Origin": "http://evil.example"}, {}, 403),
        ({"Origin": "null"}, {}, 403),
        ({"Origin": "http://["}, {}, 403),
        ({"X-Remote-User": "root"}, {"REMOTE_ADDR": "10.0.0.7"}, 403),
    ],
)
def test_without_a_token_only_this_machine_may_write(
    lasting: Client, headers: dict[str, str], environ: dict[str, str], status: int
) -> None:
    answer = write(lasting, headers, **environ)

    assert answer.status_code == status, answer.text
    assert lasting.get("/api/jobs", headers=headers, environ_overrides=environ).status_code == 200


def test_a_refusal_says_why_and_how_to_set_a_token(lasting: Client) -> None:
    answer = write(lasting, REMOTE_ADDR="10.0.0.7").json

    assert answer["type"] == "/docs/errors/not_local"
    assert answer["detail"] == "writes are open to this machine only, and this request came from 10.0.0.7"
    assert "CRONQ_API_TOKEN" in answer["errors"][0]["hint"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BEARER, 200),
        ({"Authorization": f"bearer  {TOKEN} "}, 200),
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer \xff\xfe"}, 401),
        ({"Cookie": "cronq_session=x"}, 401),
    ],
)
def test_with_a_token_every_write_needs_it(connect: Connect, headers: dict[str, str], status: int) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    for peer in ("127.0.0.1", "10.0.0.7"):
        answer = write(client, headers, REMOTE_ADDR=peer)
        assert answer.status_code == status
        assert TOKEN not in answer.text
        if status == 401:
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="cronq"'
            assert answer.json["type"] == "/docs/errors/unauthenticated"


def test_reading_is_open_with_a_token_too(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    for path in ("/api/jobs", "/api/runs", "/", "/_status"):
        assert client.get(path, environ_overrides={"REMOTE_ADDR": "10.0.0.7"}).status_code == 200


@pytest.mark.parametrize(
    ("environ", "peer", "status"),
    [
        ({"CRONQ_AUTH": "none"}, "127.0.0.1", 200),
        ({"CRONQ_AUTH": "none"}, "10.0.0.7", 403),
        ({"CRONQ_AUTH": "none", "CRONQ_AUTH_NONE_ANYWHERE": "1"}, "10.0.0.7", 200),
        ({"CRONQ_AUTH": "none", "CRONQ_API_TOKEN": TOKEN}, "127.0.0.1", 200),
    ],
)
def test_auth_none_opens_writes_to_this_machine_or_where_it_is_said_to_everybody(
    connect: Connect, environ: dict[str, str], peer: str, status: int
) -> None:
    client = connect(**environ)

    assert write(client, REMOTE_ADDR=peer).status_code == status
    assert write(client, {"Origin": "http://evil.example"}, REMOTE_ADDR=peer).status_code == 403


FORM_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def form_token(client: Client, path: str = "/enter") -> str:
    found = FORM_TOKEN.search(client.get(path).text)
    assert found
    return found[1]


def press_run(client: Client) -> Answer:
    """The button of a job that is not there: 404 for whoever may press it."""
    return client.post("/job/999", data={"csrf_token": form_token(client), "run_now": "1"})


def log_in(client: Client, token: str = TOKEN, **fields: str) -> Answer:
    return client.post("/enter", data={"csrf_token": form_token(client), "token": token, **fields})


@pytest.mark.parametrize(
    "environ", [{}, {"CRONQ_AUTH": "none"}, {"CRONQ_API_TOKEN": TOKEN}], ids=["local", "none", "token"]
)
def test_a_form_without_its_csrf_token_is_400(connect: Connect, environ: dict[str, str]) -> None:
    client = connect(**environ)

    for path in ("/job/1", "/enter", "/leave"):
        answer = client.post(path, data={"run_now": "1", "token": TOKEN})
        assert answer.status_code == 400, path
        assert "CSRF" in answer.text


def test_a_form_needs_a_login_where_a_token_is_set(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    stranger = press_run(client)
    log_in(client)
    member = press_run(client)

    assert stranger.status_code == 401
    assert "/enter" in stranger.text
    assert member.status_code == 404


def test_the_session_of_a_login_is_no_key_to_the_api(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    assert log_in(client).status_code == 303
    assert write(client).status_code == 401


def test_logging_in_sets_a_cookie_that_scripts_and_other_sites_do_not_get(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    answer = log_in(client, next="/job/7")

    assert answer.status_code == 303
    assert answer.headers["Location"] == "/job/7"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie


def test_over_tls_the_cookie_stays_there(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)

    answer = client.get("/enter", base_url="https://localhost")

    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "", "/a\r\nX: y", "/" * 3_000],
)
def test_a_login_leads_to_own_pages_only(connect: Connect, wanted: str) -> None:
    assert log_in(connect(CRONQ_API_TOKEN=TOKEN), next=wanted).headers["Location"] == "/"


@pytest.mark.parametrize("wrong", ["", "x", TOKEN + "\0", "x" * 10_000, "ключ"])
def test_every_wrong_token_gets_the_same_answer(connect: Connect, wrong: str) -> None:
    answer = log_in(connect(CRONQ_API_TOKEN=TOKEN), wrong)

    assert answer.status_code == 401
    assert "The token is not valid." in answer.text


def test_ten_wrong_tokens_make_one_wait(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)
    csrf = form_token(client)

    statuses = [client.post("/enter", data={"csrf_token": csrf, "token": "x"}).status_code for _ in range(12)]
    same = client.post("/enter", data={"csrf_token": csrf, "token": TOKEN})
    other = client.post(
        "/enter", data={"csrf_token": csrf, "token": TOKEN}, environ_overrides={"REMOTE_ADDR": "10.0.0.9"}
    )

    assert statuses == [401] * 10 + [429] * 2
    assert same.status_code == 429
    assert 1 <= int(same.headers["Retry-After"]) <= 61
    assert other.status_code == 303


def test_without_a_token_on_the_server_none_is_right(lasting: Client) -> None:
    assert log_in(lasting, "").status_code == 401


def test_logging_out_ends_it(connect: Connect) -> None:
    client = connect(CRONQ_API_TOKEN=TOKEN)
    log_in(client)

    answer = client.post("/leave", data={"csrf_token": form_token(client)})
    after = press_run(client)

    assert answer.status_code == 303
    assert after.status_code == 401


def test_another_token_on_the_server_ends_every_login(connect: Connect) -> None:
    before, after = connect(CRONQ_API_TOKEN=TOKEN), connect(CRONQ_API_TOKEN=TOKEN + "-new")
    cookie = log_in(before).headers["Set-Cookie"].partition(";")[0].partition("=")
    after.set_cookie(cookie[0], cookie[2])

    answer = press_run(after)

    assert answer.status_code == 401


def test_a_one_time_link_logs_in_once(connect: Connect) -> None:
    client, late = connect(CRONQ_API_TOKEN=TOKEN), connect(CRONQ_API_TOKEN=TOKEN)
    link = one_time_link(SECRET_KEY)

    assert client.head(link).status_code == 200
    first = client.get(link)
    again = late.get(link)

    assert (first.status_code, first.headers["Location"]) == (303, "/")
    assert press_run(client).status_code == 404
    assert again.status_code == 403
    assert "used" in again.text
    assert press_run(late).status_code == 401


@pytest.mark.parametrize("link", ["/enter/x", "/enter/%00", "/enter/7K2P", "/enter/a.b.c"])
def test_a_link_that_we_did_not_make_is_refused(lasting: Client, link: str) -> None:
    assert lasting.get(link).status_code == 403


def test_a_link_signed_with_another_key_is_refused(lasting: Client) -> None:
    assert lasting.get(one_time_link("another secret key")).status_code == 403


def test_an_old_link_is_refused(lasting: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    link = one_time_link(SECRET_KEY)
    monkeypatch.setattr("cronq.web.enter.LINK_LASTS_S", -1)

    assert lasting.get(link).status_code == 403
