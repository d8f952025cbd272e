from __future__ import annotations

import time
from pathlib import Path

import pytest

from cronq.domain.errors import ConfigError
from cronq.runtime.secrets import is_secret_name, mask_text, mask_url, mask_value, read_secret


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://user:pw@host/", "amqp://user:***@host/"),
        ("amqp://user:p@w/x y@h1,h2:1/v", "amqp://user:***@h1,h2:1/v"),
        ("amqp://:pw@host/", "amqp://:***@host/"),
        ("mysql://root@localhost/cronq", "mysql://root@localhost/cronq"),
        ("https://ghp_abc@host/x", "https://***@host/x"),
        ("https://host/x?token=abc&page=2", "https://host/x?token=***&page=2"),
        ("sqlite:////var/lib/cronq.db", "sqlite:////var/lib/cronq.db"),
        ("https://host:8080/x", "https://host:8080/x"),
    ],
)
def test_url_shows_its_user_and_never_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_credentials_inside_a_sentence_are_masked() -> None:
    text = "cannot reach amqp://a:b@h/ nor mysql://c:d@h/x; sent Authorization: Bearer abc.def"
    assert mask_text(text) == (
        "cannot reach amqp://a:***@h/ nor mysql://c:***@h/x; sent Authorization: Bearer ***"
    )


def test_masking_a_long_text_is_not_quadratic() -> None:
    began = time.monotonic()
    mask_text("a" * 200_000 + "://b:" * 20_000)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "rabbitmq_pass",
        "api_token",
        "CRONQ_API_TOKEN",
        "clientSecret",
        "signing_key",
        "trusted_keys",
        "Authorization",
        "password_hash",
        "api_key",
        "key_material",
        "db-password",
        "env",
    ],
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "routing_key",
        "key",
        "job_id",
        "token_id",
        "event",
        "idempotency_key",
        "passed",
        "",
        "_",
        "environment",
    ],
)
def test_other_names_are_not_taken_for_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_masked_inside_containers_and_numbers_stay() -> None:
    value = {"token": "abc", "urls": ["amqp://u:p@h/"], "inner": {"password": b"x", "n": 1}, "tokens": 3}
    assert mask_value("payload", value) == {
        "token": "***", "urls": ["amqp://u:***@h/"], "inner": {"password": "***", "n": 1}, "tokens": 3
    }  # fmt: skip


def test_file_is_read_without_its_trailing_newline(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b" two words \r\n")
    path.chmod(0o600)
    assert read_secret("X_FILE", str(path)) == (" two words ", None)


def test_file_that_everybody_can_read_is_remarked_on(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc")
    path.chmod(0o644)
    text, remark = read_secret("X_FILE", str(path))
    assert text == "abc"
    assert remark is not None
    assert f"X_FILE: {path}" in remark
    assert "0644" in remark


def test_file_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"X_FILE: .*token is writable by every user .mode 0666"):
        read_secret("X_FILE", str(path))


def test_missing_file_is_named_with_its_errno(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_secret("X_FILE", f"{tmp_path}/none")
    assert (
        str(refused.value)
        == f"X_FILE: cannot read {tmp_path}/none: No such file or directory (errno 2, ENOENT)"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"\n", "is empty"), (b"\xff\xfe", "is not UTF-8"), (b"x" * 70_000, "is longer than")],
)
def test_file_that_holds_no_secret_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason):
        read_secret("X_FILE", str(path))
