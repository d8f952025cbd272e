"""Odd requests: each gets its own clear error, and none breaks anything."""

from __future__ import annotations

import json

import pytest

from cronq.store import Store
from cronq.web.errors import MEANINGS
from tests.integration.web_api.support import Answer, Client, job, put_jobs

KEYS = ["type", "title", "status", "detail", "instance", "request_id", "errors"]
NO_RUN = "0" * 32


def check(answer: Answer, status: int) -> list[dict[str, str]]:
    """The problems of an answer that must be a problem in every respect."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    told = json.loads(answer.data)
    assert list(told) == KEYS
    assert told["status"] == status
    assert told["type"].removeprefix("/docs/errors/") in MEANINGS
    assert told["title"]
    assert told["detail"]
    assert told["request_id"] == answer.headers["X-Request-Id"]
    for problem in told["errors"]:
        assert list(problem) == ["code", "pointer", "message", "hint"]
        assert problem["message"]
    text = answer.text
    for leak in ("Traceback", "sqlalchemy", "SELECT ", "pymysql", "sqlite3"):
        assert leak not in text
    errors: list[dict[str, str]] = told["errors"]
    return errors


def put(client: Client, body: bytes | str, name: str = "ops", **headers: str) -> Answer:
    return client.put(
        f"/api/category/{name}", data=body, headers={"Content-Type": "application/json", **headers}
    )


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        ('{"jobs": [\n  {"name": "a"\n   "schedule": 1}]}', 400, "invalid_json", "line 3 column 4"),
        ('{"jobs": []} x', 400, "invalid_json", "line 1 column 14"),
        ("", 400, "invalid_json", "line 1 column 1"),
        (b'\xef\xbb\xbf{"jobs": []}', 400, "invalid_json", "byte order mark"),
        (b'{"jobs": ["\xff"]}', 400, "invalid_json", "0xff"),
        ('{"jobs": [{"command": "a", "command": "b"}]}', 400, "duplicate_key", '"command"'),
        ('{"jobs": NaN}', 400, "invalid_number", "NaN"),
        ('{"jobs": 1e999}', 400, "invalid_number", "1e999"),
        ('{"jobs": ' + "9" * 5000 + "}", 400, "invalid_number", "not allowed"),
        ("[" * 100 + "]" * 100, 400, "too_deep", "16 levels"),
        ("[]", 422, "invalid_type", "must be an object with the key jobs"),
        ("null", 422, "invalid_type", "must be an object with the key jobs"),
        ('"jobs"', 422, "invalid_type", "must be an object with the key jobs"),
        ("7", 422, "invalid_type", "must be an object with the key jobs"),
        ("{}", 422, "missing_field", "[] removes all"),
        ('{"jobs": {}}', 422, "invalid_type", "must be a list"),
        ('{"jobs": [], "jbos": []}', 422, "unknown_field", "no such key"),
    ],
)
def test_a_body_that_is_no_document_is_told_why(
    lasting: Client, body: bytes | str, status: int, code: str, words: str
) -> None:
    [first, *_] = check(put(lasting, body), status)

    assert first["code"] == code
    assert words in first["message"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"Content-Type": "text/plain"}, "text/plain"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, "application/x-www-form-urlencoded"),
        ({"Content-Type": ""}, "without Content-Type"),
        ({"Content-Type": "application/json; charset=utf-16"}, "utf-16"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, "gzip"),
    ],
)
def test_a_body_of_another_type_is_415_naming_json(
    lasting: Client, headers: dict[str, str], words: str
) -> None:
    answer = lasting.put("/api/category/ops", data=b'{"jobs": []}', headers=headers)

    [problem] = check(answer, 415)
    assert words in problem["message"]
    assert "application/json" in problem["hint"]


def test_a_body_over_the_limit_is_413(lasting: Client) -> None:
    [problem] = check(put(lasting, b" " * (16 * 1024 * 1024 + 1)), 413)

    assert "16,777,216" in problem["message"]


@pytest.mark.parametrize(
    "path", ["%00", "a%00b", "%20a", "a%20", "%0d%0aSet-Cookie:%20x", "x" * 256, "..", "a%2Fb"]
)
def test_a_category_that_cannot_have_this_name_is_refused(lasting: Client, path: str) -> None:
    answer = put(lasting, '{"jobs": []}', path)

    check(answer, 404 if path == "a%2Fb" else 422)
    assert "Set-Cookie" not in answer.headers
    check(lasting.get(f"/api/categories/{path}"), 404)


ODD_IDS = [
    "0",
    "-1",
    "1e30",
    "abc",
    "1'%20OR%20'1'='1",
    "%00",
    "01",
    "1.0",
    "9" * 40,
    "%F0%9F%98%80",
    "%C0%AE",
    "null",
]


@pytest.mark.parametrize("odd", ODD_IDS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/jobs/{}"),
        ("POST", "/api/jobs/{}/run"),
        ("GET", "/api/jobs/{}/revisions"),
        ("GET", "/api/runs/{}"),
        ("GET", "/api/runs/{}/events"),
        ("GET", "/api/runs/{}/output"),
        ("POST", "/api/runs/{}/cancel"),
    ],
)
def test_an_id_that_nothing_can_have_is_404(lasting: Client, method: str, path: str, odd: str) -> None:
    check(lasting.open(path.format(odd), method=method), 404)


@pytest.mark.parametrize("path", ["/api/jobs/999", f"/api/runs/{NO_RUN}", f"/api/runs/{NO_RUN}/output"])
def test_what_is_not_there_is_404_and_named(lasting: Client, path: str) -> None:
    [problem] = check(lasting.get(path), 404)

    assert path.split("/")[3] in problem["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/api", "/api/", "/api/nope", "/api/jobs/", "//api/jobs", "/api//jobs", "/api/jobs/1/",
        "/api/jobs/1/nope", "/api/categories/", "/api/category/", "/api/%00",
        "/api/jobs%2F1", "/api/runs/../jobs/1/x",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_404(lasting: Client, path: str) -> None:
    answer = lasting.get(path)

    assert answer.status_code == 404
    if path.startswith("/api"):
        check(answer, 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/jobs", "GET, HEAD, OPTIONS"),
        ("POST", "/api/jobs/1", "GET, HEAD, OPTIONS"),
        ("GET", "/api/jobs/1/run", "OPTIONS, POST"),
        ("GET", "/api/category/ops", "OPTIONS, POST, PUT"),
        ("PATCH", "/api/category/ops", "OPTIONS, POST, PUT"),
        ("PUT", "/api/runs", "GET, HEAD, OPTIONS"),
        ("BREW", "/api/alerts", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_405_naming_those_that_are(
    lasting: Client, method: str, path: str, allowed: str
) -> None:
    answer = lasting.open(path, method=method)

    [problem] = check(answer, 405)
    assert answer.headers["Allow"] == allowed
    assert allowed in problem["message"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/jobs?page=-1", '"-1" is not allowed; a whole number from 0'),
        ("/api/jobs?page=x", "a whole number"),
        ("/api/jobs?page=1e3", "a whole number"),
        ("/api/jobs?per_page=0", "from 1 to 100"),
        ("/api/jobs?per_page=101", "from 1 to 100"),
        ("/api/jobs?limit=1e9", "from 1 to 100"),
        ("/api/jobs?limit=1000000000", "from 1 to 100"),
        ("/api/jobs?limit=", "from 1 to 100"),
        ("/api/jobs?limit=%D9%A1", "from 1 to 100"),
        ("/api/jobs?cursor=x", "a whole number"),
        ("/api/jobs?limit=5&page=2", "limit and cursor go by id"),
        ("/api/jobs?sort=;drop", "id.asc, id.desc, name.asc"),
        ("/api/jobs?sort=name", "name.asc"),
        ("/api/jobs?sort=command.asc", "name.asc"),
        ("/api/jobs?id=abc", "a whole number from 1 to 2147483647"),
        ("/api/jobs?id=-1", "a whole number from 1"),
        ("/api/jobs?id=9999999999", "to 2147483647"),
        ("/api/jobs?id=1&id=2", "given 2 times"),
        ("/api/jobs?category=ops", "allowed: category.id, category.name, cursor, id, limit"),
        ("/api/categories?name=ops", "allowed: id"),
        ("/api/categories?id=0", "from 1"),
        ("/api/categories/ops?x=1", "allowed: none"),
        ("/api/runs?limit=501", "from 1 to 500"),
        ("/api/runs?limit=0", "from 1 to 500"),
        ("/api/runs?cursor=7", "next_cursor"),
        ("/api/runs?state=finished", "succeeded, failed"),
        ("/api/runs?since=yesterday", "2026-01-31T14:00:00Z"),
        ("/api/runs?since=2026-01-31T14:00:00", "RFC 3339"),
        ("/api/runs?since=2026-02-30T14:00:00Z", "RFC 3339"),
        ("/api/runs?since=2026-01-31T24:00:01Z", "RFC 3339"),
        ("/api/runs?since=0001-01-01T00:00:00%2B23:59", "RFC 3339"),
        ("/api/runs?since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", "since: is after until"),
        ("/api/runs?job_id=1", "allowed: category, cursor, job.id"),
        (f"/api/runs/{NO_RUN}?full=1", "allowed: none"),
        (f"/api/runs/{NO_RUN}/output?offset=-5", "a whole number from 0"),
        ("/api/alerts?all=yes", "true or false"),
        ("/api/runners?x", "allowed: none"),
        ("/api/queues?%00=1", "allowed: none"),
    ],
)
def test_a_query_that_is_not_allowed_is_422_naming_what_is(lasting: Client, path: str, words: str) -> None:
    problems = check(lasting.get(path), 422)

    assert any(words in problem["message"] for problem in problems)


def test_every_problem_of_a_query_is_told_with_hints(lasting: Client) -> None:
    problems = check(lasting.get("/api/runs?limit=0&stat=failed&since=2026-01-31T14:00:00+01:00"), 422)

    hints = {problem["message"].split(":")[0].split(" ")[0]: problem["hint"] for problem in problems}
    assert hints == {"limit": "", '"stat"': 'did you mean "state"?', "since": "in a URL, + is written %2B"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/category/ops?dryrun=true", "allowed: allow_removals, dry_run"),
        ("/api/category/ops?dry_run=maybe", "true or false"),
        ("/api/category/ops?allow_removals=-1", "a whole number from 0"),
    ],
)
def test_a_put_with_another_query_is_refused_before_anything_is_done(
    lasting: Client, path: str, words: str
) -> None:
    [problem] = check(lasting.put(path, json={"jobs": [job()]}), 422)

    assert words in problem["message"]
    assert lasting.get("/api/categories").json == {"data": {"categories": []}, "next_cursor": None}


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 191, '""', "ключ".encode().decode("latin-1")])
def test_an_idempotency_key_that_cannot_be_kept_is_refused(lasting: Client, key: str) -> None:
    answer = lasting.post("/api/jobs/1/run", headers={"Idempotency-Key": key})

    assert check(answer, 422)[0]["code"] == "invalid_idempotency_key"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "invalid_json"),
        ("[]", 422, "invalid_type"),
        ('{"force": true}', 422, "unknown_field"),
        ("{}", 404, "not_found"),
        ("", 404, "not_found"),
    ],
)
def test_an_order_takes_no_fields_in_its_body(lasting: Client, body: str, status: int, code: str) -> None:
    answer = lasting.post("/api/jobs/1/run", data=body, content_type="application/json")

    assert check(answer, status)[0]["code"] == code


@pytest.mark.parametrize(
    "path", ["/api/jobs?token=s3cret", "/?token=s3cret", "/api/nope?access_token=s3cret"]
)
def test_a_token_in_a_url_is_refused_and_not_repeated(lasting: Client, path: str) -> None:
    answer = lasting.get(path)

    assert answer.status_code == 400
    assert "Authorization" in answer.text
    assert "s3cret" not in answer.text


def test_odd_headers_break_nothing(lasting: Client) -> None:
    odd = {
        "X-Request-Id": "a b<script>",
        "If-Match": '"' * 50,
        "If-None-Match": "\xff",
        "Cookie": "cronq_session=garbage; x",
        "Accept": "*/;q=x",
        "Range": "bytes=x",
        "Origin": "http://[",
        "Authorization": "Bearer",
        "Content-Length": "0",
    }

    for path in ("/api/jobs", "/_status", "/", "/enter"):
        answer = lasting.get(path, headers=odd)
        assert answer.status_code == 200, path
        assert answer.headers["X-Request-Id"].isalnum()
    assert lasting.put("/api/category/x", json={"jobs": []}, headers=odd).status_code in (403, 412)


def test_a_request_id_comes_back(lasting: Client) -> None:
    answer = lasting.get("/api/nope", headers={"X-Request-Id": "ci-42/build.7"})

    assert answer.headers["X-Request-Id"] == "ci-42/build.7"
    assert answer.json is not None
    assert answer.json["request_id"] == "ci-42/build.7"


def test_every_answer_has_the_headers_that_keep_browsers_safe(lasting: Client) -> None:
    for path in ("/api/jobs", "/api/nope", "/", "/nope", "/enter", "/_status"):
        headers = lasting.get(path).headers
        assert "default-src 'self'" in headers["Content-Security-Policy"], path
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"


def test_odd_requests_break_nothing_on_any_store(client: Client, db: Store) -> None:
    put_jobs(client, job("a"), category="ops")
    odd = ["%00", "%F0%9F%98%80", "x" * 300, "1'%20OR%20'1'='1", "%5C", "%25", "%ED%A0%80", "%C3%A9"]

    for value in odd:
        for path in (
            f"/api/categories/{value}",
            f"/api/jobs?category.name={value}",
            f"/api/runs?category={value}",
            f"/api/jobs/{value}",
            f"/api/runs/{value}",
        ):
            assert client.get(path).status_code in (200, 404, 422), path
        answer = client.put(f"/api/category/{value}", json={"jobs": [job("é\U0001f600")]})
        assert answer.status_code in (200, 422), value
    assert client.get("/api/runs?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z").status_code == 200
    assert client.get("/api/jobs?page=1000000&per_page=100").status_code == 200
    assert client.get(f"/api/runs?cursor={'f' * 32}").status_code == 200
