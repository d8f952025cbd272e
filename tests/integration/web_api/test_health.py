"""What probes ask, with a database and without."""

from __future__ import annotations

from pathlib import Path

import pytest

import cronq.web
from cronq.domain.errors import ConfigError
from cronq.runtime import config
from cronq.store import Store, open_store
from cronq.web import create_app
from tests.integration.web_api.support import SECRET_KEY, Answer, Client, make_settings


@pytest.fixture
def away(tmp_path: Path) -> Client:
    """An application whose database does not answer: a folder is where its file should be."""
    (tmp_path / "cronq.db").mkdir()
    return create_app(make_settings(f"sqlite:///{tmp_path}/cronq.db", tmp_path)).test_client()


def test_the_ancestors_status_and_liveness_ask_nothing_of_the_database(away: Client) -> None:
    assert away.get("/_status").json == {"status": "OK"}
    assert away.get("/healthz").json == {"status": "ok"}


def test_it_is_ready_when_the_tables_are_this_releases(client: Client) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "checks": {"database": "ok", "migrations": "ok"}}


def test_without_its_database_it_is_not_ready_and_every_answer_says_so(away: Client) -> None:
    ready = away.get("/readyz")
    listed = away.get("/api/jobs")
    page = away.get("/")

    assert ready.status_code == 503
    assert ready.json["checks"]["database"].startswith("database: unable to open")
    assert listed.status_code == 503
    assert listed.headers["Retry-After"] == "5"
    assert listed.json["type"] == "/docs/errors/unavailable"
    assert page.status_code == 503
    assert page.content_type == "text/html; charset=utf-8"


def test_without_its_tables_it_is_not_ready_and_names_the_command(store_url: str, tmp_path: Path) -> None:
    empty = open_store(store_url)
    client = create_app(make_settings(store_url, tmp_path), empty).test_client()

    ready: Answer = client.get("/readyz")
    listed: Answer = client.get("/api/jobs")
    empty.close()

    assert ready.status_code == 503
    assert "cronq db upgrade" in ready.json["checks"]["migrations"]
    assert listed.status_code == 503
    assert "cronq db upgrade" in listed.json["detail"]


def test_what_breaks_is_500_with_the_requests_id_and_nothing_of_the_inside(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inner words")

    monkeypatch.setattr("cronq.store.jobs.listed", broken)

    answer = client.get("/api/jobs", headers={"X-Request-Id": "r-1"})

    assert answer.status_code == 500
    assert answer.json["request_id"] == "r-1"
    assert "inner words" not in answer.text


def test_the_type_of_a_problem_leads_to_its_meaning(client: Client) -> None:
    link = client.get("/api/nope").json["type"]

    assert "There is no such thing" in client.get(link).text
    assert client.get("/docs/errors/nope").status_code == 404


@pytest.mark.parametrize("missing", ["CRONQ_SECRET_KEY", "DATABASE_URL"])
def test_the_application_is_not_made_without_what_it_needs(db: Store, tmp_path: Path, missing: str) -> None:
    environ = {"DATABASE_URL": "sqlite:///x.db", "CRONQ_SECRET_KEY": SECRET_KEY, "HOME": str(tmp_path)}
    del environ[missing]

    with pytest.raises(ConfigError, match=missing):
        create_app(config.load(environ))


def test_every_way_of_the_ancestor_to_load_the_application_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/cronq.db")
    monkeypatch.setenv("CRONQ_SECRET_KEY", "6f2d9a3c5b7e1408")
    monkeypatch.delitem(vars(cronq.web), "app", raising=False)

    for app in (cronq.web.create_app(), cronq.web.make_application(), cronq.web.app):
        assert app.test_client().get("/_status").json == {"status": "OK"}
    assert cronq.web.app is cronq.web.app
    monkeypatch.delitem(vars(cronq.web), "app")
