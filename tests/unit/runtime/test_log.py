from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from cronq.runtime import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_event_is_one_json_line_with_its_fields() -> None:
    stream = io.StringIO()
    log.configure("info", "json", "injector", stream)
    log.get_logger().info("run.published", run_id="ab12", count=3)
    (line,) = json_lines(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "run.published", "run_id": "ab12", "count": 3, "level": "info", "service": "injector"
    }  # fmt: skip


def test_auto_is_json_off_a_terminal_and_console_on_one() -> None:
    plain, terminal = io.StringIO(), Terminal()
    log.configure("info", "auto", "web", plain)
    log.get_logger().info("started")
    log.configure("info", "auto", "web", terminal)
    log.get_logger().info("started")
    assert json_lines(plain)[0]["event"] == "started"
    assert not terminal.getvalue().startswith("{")
    assert "started" in terminal.getvalue()


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    log.configure("info", "console", "web", terminal)
    log.get_logger().info("started")
    assert "\x1b" not in terminal.getvalue()


def test_library_lines_go_the_same_way() -> None:
    stream = io.StringIO()
    log.configure("info", "json", "web", stream)
    logging.getLogger("gunicorn.error").warning("worker %s is late", 7)
    (line,) = json_lines(stream)
    assert (line["event"], line["logger"], line["service"]) == ("worker 7 is late", "gunicorn.error", "web")


def test_lines_under_the_level_are_dropped() -> None:
    stream = io.StringIO()
    log.configure("warning", "json", "web", stream)
    log.get_logger().info("quiet")
    logging.getLogger("other").info("quiet")
    log.get_logger().warning("loud")
    assert [line["event"] for line in json_lines(stream)] == ["loud"]


def test_chatty_libraries_need_debug() -> None:
    stream = io.StringIO()
    log.configure("info", "json", "web", stream)
    logging.getLogger("pika.connection").info("connected")
    log.configure("debug", "json", "web", stream)
    logging.getLogger("pika.connection").info("connected")
    assert len(json_lines(stream)) == 1


def test_bound_context_is_in_every_line_and_may_name_another_service() -> None:
    stream = io.StringIO()
    log.configure("info", "json", "up", stream)
    structlog.contextvars.bind_contextvars(service="runner", run_id="ab")
    log.get_logger().info("run.started")
    (line,) = json_lines(stream)
    assert (line["service"], line["run_id"]) == ("runner", "ab")


def test_secrets_are_masked_in_fields_texts_and_tracebacks() -> None:
    stream = io.StringIO()
    log.configure("info", "json", "web", stream)
    try:
        raise ValueError("no route to amqp://u:hunter2@h/")
    except ValueError:
        log.get_logger().exception(
            "failed", api_token="hunter2", url="mysql://u:hunter2@h/d", env={"A": "hunter2"}
        )
    logging.getLogger("lib").warning("cannot reach %s", "amqp://u:hunter2@h/")
    assert "hunter2" not in stream.getvalue()
    assert "Traceback" in str(json_lines(stream)[0]["exception"])


def test_console_masks_and_cannot_be_steered_by_a_value() -> None:
    stream = io.StringIO()
    log.configure("info", "console", "web", stream)
    log.get_logger().info("job.seen", name="x\n\x1b]0;owned\x07", password="hunter2")
    logging.getLogger("lib").warning("bad\r\nfake line \x1b[2J")
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_console_shows_a_traceback_on_its_own_lines() -> None:
    stream = io.StringIO()
    log.configure("info", "console", "web", stream)
    try:
        raise ValueError("broken")
    except ValueError:
        log.get_logger().exception("failed")
    assert "ValueError: broken" in stream.getvalue().splitlines()


def test_second_call_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.configure("info", "json", "a", first)
    log.configure("info", "json", "b", second)
    log.get_logger().info("once")
    assert first.getvalue() == ""
    assert [line["service"] for line in json_lines(second)] == ["b"]
