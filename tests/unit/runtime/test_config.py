from __future__ import annotations

import os
from pathlib import Path

import pytest

from cronq.domain.errors import ConfigError
from cronq.runtime.config import EXIT_CONFIG, describe, load, report
from cronq.runtime.parsing import NEW_SECRET_KEY
from cronq.runtime.settings import Settings
from cronq.runtime.table import SETTINGS

GOOD_KEY = "5f0c2b7a9d3e4816"


def refusal(**environ: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load(environ)
    text = str(refused.value)
    assert "\n" not in text
    return text


def shown(settings: Settings, name: str) -> tuple[str, str]:
    return next((row.value, row.source) for row in describe(settings) if row.name == name)


class TestDefaults:
    def test_empty_environment_gives_the_documented_defaults(self, tmp_path: Path) -> None:
        settings = load({"HOME": str(tmp_path)})
        assert (settings.database_url, settings.rabbitmq_url, settings.secret_key) == (None, None, None)
        assert (settings.heartbeat_s, settings.lease_s, settings.republish_s, settings.poll_s) == (
            10,
            60,
            60,
            0.1,
        )
        assert (settings.queues, settings.plain_queues) == (("cronq_jobs",), ())
        assert (settings.slots, settings.window) == (os.cpu_count(), 2000)
        assert (settings.auth, settings.auth_none_anywhere) == ("on", False)
        assert (settings.on_term, settings.drain_s) == ("leave", 30)
        assert (settings.port, settings.listen_interface, settings.health_port) == (5000, None, None)
        assert (settings.log_level, settings.log_format) == ("info", "auto")
        assert settings.notices == ()

    def test_every_source_is_default(self, tmp_path: Path) -> None:
        assert {row.source for row in describe(load({"HOME": str(tmp_path)}))} == {"default"}

    @pytest.mark.skipif(
        os.access("/var/lib/cronq", os.W_OK), reason="the system's state folder is writable here"
    )
    def test_state_is_kept_at_home_when_the_system_folder_is_not_writable(self, tmp_path: Path) -> None:
        assert load({"HOME": str(tmp_path)}).state_dir == tmp_path / ".local/state/cronq"

    def test_empty_variable_counts_as_not_set(self) -> None:
        settings = load(
            {"CRONQ_SLOTS": "", "CRONQ_API_TOKEN": "", "DATABASE_URL": " ", "CRONQ_SECRET_KEY": ""}
        )
        assert settings.slots == os.cpu_count()
        assert (settings.api_token, settings.database_url, settings.secret_key) == (None, None, None)

    def test_table_and_values_name_the_same_fields(self) -> None:
        settings = load({})
        fields = [setting.field for setting in SETTINGS]
        own = {"one_process", "sources", "notices"}
        assert set(fields) == set(settings.__dataclass_fields__) - own
        assert len(fields) == len(set(fields))

    def test_every_setting_says_what_it_means_and_allows(self) -> None:
        assert all(setting.meaning and setting.allowed for setting in SETTINGS)


class TestDatabaseUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "mysql+pymysql://cronq:cronq@localhost/cronq",
            "mysql+pymysql://root@/cronq?unix_socket=/run/mysqld/mysqld.sock",
            "mysql+pymysql://u:p%40ss/#w@[::1]:3307/cronq?charset=utf8mb4",
            "sqlite:////var/lib/cronq/cronq.db",
            "sqlite:///cronq.db",
        ],
    )
    def test_legal_address_is_kept_as_it_is_without_a_notice(self, url: str) -> None:
        settings = load({"DATABASE_URL": url})
        assert settings.require_database() == url
        assert settings.notices == ()

    @pytest.mark.parametrize("scheme", ["mysql", "mysql+mysqlconnector", "mysql+mysqldb", "MySQL"])
    def test_any_mysql_driver_is_read_as_pymysql_with_a_notice(self, scheme: str) -> None:
        settings = load({"DATABASE_URL": f"{scheme}://u:secret@h/cronq"})
        assert settings.database_url == "mysql+pymysql://u:secret@h/cronq"
        assert settings.notices == (f"DATABASE_URL: {scheme}:// is read as mysql+pymysql://",)

    def test_cronq_mysql_is_the_old_name(self) -> None:
        settings = load({"CRONQ_MYSQL": "mysql+mysqlconnector://cronq:cronq@localhost/cronq"})
        assert settings.database_url == "mysql+pymysql://cronq:cronq@localhost/cronq"
        assert "CRONQ_MYSQL is an old name of DATABASE_URL" in settings.notices
        assert shown(settings, "DATABASE_URL") == (
            "mysql+pymysql://cronq:***@localhost/cronq",
            "environment CRONQ_MYSQL (old name)",
        )

    def test_database_url_wins_over_cronq_mysql_and_says_so(self) -> None:
        settings = load({"DATABASE_URL": "sqlite:///a.db", "CRONQ_MYSQL": "mysql://u@h/b"})
        assert settings.database_url == "sqlite:///a.db"
        assert settings.notices == ("CRONQ_MYSQL is ignored, because DATABASE_URL is set",)

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("postgresql://u:hunter2@h/d", "is of another kind"),
            ("/var/lib/cronq.db", "is of another kind"),
            ("sqlite://", "is of another kind"),
            ("sqlite:///", "names no file"),
            ("sqlite:///:memory:", "names no file"),
            ("mysql://u:hunter2@h", "names no database"),
            ("mysql://u:hunter2@h/", "names no database"),
            ("mysql://u:hunter2@3@h/d", "second @"),
            ("mysql://u:hunter2@h:33o6/d", "has a port that is not a number"),
            ("mysql://u:hunter2@h:70000/d", "has a port that is not a number"),
        ],
    )
    def test_other_addresses_are_refused_without_their_password(self, url: str, reason: str) -> None:
        text = refusal(DATABASE_URL=url)
        assert text.startswith("DATABASE_URL: '")
        assert reason in text
        assert "allowed: mysql+pymysql://user:password@host/database" in text
        assert "hunter2" not in text

    def test_service_that_needs_one_says_which_variable_is_missing(self) -> None:
        with pytest.raises(ConfigError, match="DATABASE_URL is not set; allowed: mysql"):
            load({}).require_database()


class TestBusUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "amqp://guest:guest@localhost/",
            "amqp://guest:guest@localhost:5672/%2F?heartbeat=20",
            "amqps://u:p%40w@h1,h2,h3:5671/vhost",
            "amqp://u:p@h1:5673/v,amqp://u:p@h2/v",
            "amqp://localhost",
            "amqp://u:p@[::1]:5672/",
        ],
    )
    def test_legal_address_is_kept_as_it_is(self, url: str) -> None:
        assert load({"RABBITMQ_URL": url}).require_bus() == url

    @pytest.mark.parametrize(
        ("parts", "url"),
        [
            ({"RABBITMQ_HOST": "mq"}, "amqp://guest:guest@mq:5672/%2F"),
            ({"RABBITMQ_USER": "me"}, "amqp://me:guest@localhost:5672/%2F"),
            (
                {"RABBITMQ_HOSTS": "a, b:5673", "RABBITMQ_PORT": "5674"},
                "amqp://guest:guest@a:5674,b:5673/%2F",
            ),
            ({"RABBITMQ_HOSTS": "a,b", "RABBITMQ_HOST": "c"}, "amqp://guest:guest@a:5672,b:5672/%2F"),
            ({"RABBITMQ_HOST": "mq", "RABBITMQ_VHOST": "/"}, "amqp://guest:guest@mq:5672/%2F"),
            ({"RABBITMQ_HOST": "mq", "RABBITMQ_VHOST": "/foo"}, "amqp://guest:guest@mq:5672/%2Ffoo"),
            ({"RABBITMQ_HOST": "mq", "RABBITMQ_VHOST": "foo"}, "amqp://guest:guest@mq:5672/foo"),
            (
                {"RABBITMQ_HOST": "mq", "RABBITMQ_USER": "a:b@c", "RABBITMQ_PASS": "p/w%#? \n"},
                "amqp://a%3Ab%40c:p%2Fw%25%23%3F%20@mq:5672/%2F",
            ),
            ({"RABBITMQ_HOST": "[::1]", "RABBITMQ_PORT": "5673"}, "amqp://guest:guest@[::1]:5673/%2F"),
        ],
    )
    def test_single_variables_compose_an_address(self, parts: dict[str, str], url: str) -> None:
        assert load(parts).require_bus() == url

    def test_single_variables_are_named_as_the_source(self) -> None:
        settings = load({"RABBITMQ_HOST": "mq", "RABBITMQ_PASS": "hunter2"})
        assert shown(settings, "RABBITMQ_URL") == (
            "amqp://guest:***@mq:5672/%2F",
            "environment RABBITMQ_HOST, RABBITMQ_PASS (old names)",
        )
        assert settings.notices == (
            "RABBITMQ_HOST, RABBITMQ_PASS: old names; RABBITMQ_URL is the present one",
        )

    def test_password_file_of_the_single_variables(self, tmp_path: Path) -> None:
        path = tmp_path / "pass"
        path.write_text("p@ss\n")
        path.chmod(0o600)
        assert (
            load({"RABBITMQ_PASS_FILE": str(path)}).rabbitmq_url == "amqp://guest:p%40ss@localhost:5672/%2F"
        )

    def test_rabbitmq_url_wins_over_the_single_variables_and_says_so(self) -> None:
        settings = load({"RABBITMQ_URL": "amqp://h/", "RABBITMQ_HOST": "x", "RABBITMQ_PASS": "y"})
        assert settings.rabbitmq_url == "amqp://h/"
        assert settings.notices == (
            "RABBITMQ_HOST is ignored, because RABBITMQ_URL is set",
            "RABBITMQ_PASS is ignored, because RABBITMQ_URL is set",
        )

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://u:hunter2@h/", "is no such address"),
            ("amqp://u:hun/ter2@h/", "within a part / is written %2F"),
            ("amqp://u:hun#ter2@h/", "within a part"),
            ("amqp://", "is no such address"),
            ("amqp://u:hunter2@h1,,h2/", "has an empty or malformed host"),
            ("amqp://u:hunter2@h:x/", "has a port that is not a number from 1 to 65535"),
            ("amqp://u:hunter2@h:0/", "has a port"),
            ("amqp://u:hunter2@h/?heartbeat=soon", "has a heartbeat that is not a whole number"),
            ("memory://x y", "is no such address"),
        ],
    )
    def test_other_addresses_are_refused_without_their_password(self, url: str, reason: str) -> None:
        text = refusal(RABBITMQ_URL=url)
        assert text.startswith("RABBITMQ_URL: '")
        assert reason in text
        assert "allowed: amqp(s)://user:password@host" in text
        assert "ter2" not in text

    @pytest.mark.parametrize(
        ("name", "value"), [("RABBITMQ_PORT", "x"), ("RABBITMQ_HOST", "a b@c"), ("RABBITMQ_HOSTS", "a,,b")]
    )
    def test_wrong_single_variable_is_named(self, name: str, value: str) -> None:
        assert refusal(**{name: value}).startswith(f"{name}: '{value}' ")

    def test_memory_is_refused_outside_of_one_process(self) -> None:
        with pytest.raises(ConfigError, match="RABBITMQ_URL: 'memory:' is for one process only"):
            load({"RABBITMQ_URL": "memory:"}).require_bus()

    def test_service_that_needs_one_says_which_variable_is_missing(self) -> None:
        with pytest.raises(ConfigError, match="RABBITMQ_URL is not set; allowed: amqp://"):
            load({}).require_bus()


class TestEmbedded:
    def test_one_process_gets_sqlite_and_memory(self, tmp_path: Path) -> None:
        settings = load({"CRONQ_STATE_DIR": str(tmp_path)}).embedded()
        assert settings.require_database() == f"sqlite:///{tmp_path}/cronq.db"
        assert settings.require_bus() == "memory:"
        assert shown(settings, "RABBITMQ_URL") == ("memory:", "default of `cronq up`")

    def test_what_is_set_stays(self) -> None:
        settings = load({"DATABASE_URL": "sqlite:///x.db", "RABBITMQ_URL": "amqp://h/"}).embedded()
        assert (settings.require_database(), settings.require_bus()) == ("sqlite:///x.db", "amqp://h/")
        assert shown(settings, "DATABASE_URL")[1] == "environment DATABASE_URL"


class TestFlags:
    @pytest.mark.parametrize("text", ["1", "true", "YES", "On", " on "])
    def test_on(self, text: str) -> None:
        assert load({"CRONQ_RUNNER_LOG_TO_STDOUT": text}).runner_log_to_stdout is True

    @pytest.mark.parametrize("text", ["0", "false", "No", "OFF"])
    def test_off(self, text: str) -> None:
        assert load({"CRONQ_RUNNER_LOG_TO_STDOUT": text}).runner_log_to_stdout is False

    @pytest.mark.parametrize("text", ["yes please", "2", "enabled", "t"])
    def test_anything_else_is_refused(self, text: str) -> None:
        assert refusal(CRONQ_AUTH_NONE_ANYWHERE=text) == (
            f"CRONQ_AUTH_NONE_ANYWHERE: '{text}' is neither on nor off; "
            "allowed: 1, true, yes or on; 0, false, no or off"
        )


class TestNumbers:
    @pytest.mark.parametrize(
        ("name", "texts", "allowed"),
        [
            (
                "CRONQ_HEARTBEAT_S",
                ["abc", "-1", "0", "1e9", "61", "nan", "inf", "1_0", "\uff15"],
                "a number from 1 to 60",
            ),
            ("CRONQ_POLL_S", ["0", "0.001", "5.1", "0,1", ".5"], "a number from 0.01 to 5"),
            ("CRONQ_LEASE_S", ["2", "1000000000", "1 0"], "a number from 3 to 3600"),
            ("CRONQ_REPUBLISH_S", ["0", "601"], "a number from 1 to 600"),
            ("CRONQ_DRAIN_S", ["-1", "86401"], "a number from 0 to 86400"),
            ("CRONQ_SLOTS", ["0", "-1", "10001", "2.5", "two", "9" * 30], "a whole number from 1 to 10000"),
            ("CRONQ_WINDOW", ["0", "1000001"], "a whole number from 1 to 1000000"),
            ("PORT", ["-1", "65536", "http"], "a whole number from 0 to 65535"),
            ("CRONQ_HEALTH_PORT", ["0", "65536", "on"], "a whole number from 1 to 65535, or off"),
        ],
    )
    def test_out_of_range_names_variable_value_and_range(
        self, name: str, texts: list[str], allowed: str
    ) -> None:
        for text in texts:
            line = refusal(**{name: text})
            assert line.startswith(f"{name}: {text!r} is ")
            assert line.endswith(f"; allowed: {allowed}")

    def test_short_clocks_are_legal(self) -> None:
        settings = load(
            {"CRONQ_HEARTBEAT_S": "1", "CRONQ_LEASE_S": "6", "CRONQ_REPUBLISH_S": "5", "CRONQ_POLL_S": "0.01"}
        )
        assert (settings.heartbeat_s, settings.lease_s, settings.republish_s, settings.poll_s) == (
            1,
            6,
            5,
            0.01,
        )

    def test_lease_of_exactly_three_heartbeats_is_legal(self) -> None:
        assert load({"CRONQ_HEARTBEAT_S": "2.5", "CRONQ_LEASE_S": "7.5"}).lease_s == 7.5

    @pytest.mark.parametrize(
        "environ",
        [
            {"CRONQ_HEARTBEAT_S": "30"},
            {"CRONQ_LEASE_S": "29"},
            {"CRONQ_HEARTBEAT_S": "2", "CRONQ_LEASE_S": "5"},
        ],
    )
    def test_lease_under_three_heartbeats_names_both(self, environ: dict[str, str]) -> None:
        text = refusal(**environ)
        assert "CRONQ_HEARTBEAT_S" in text
        assert "CRONQ_LEASE_S" in text

    def test_health_port_can_be_said_to_be_off(self) -> None:
        assert load({"CRONQ_HEALTH_PORT": "off"}).health_port is None
        assert load({"CRONQ_HEALTH_PORT": "9400"}).health_port == 9400


class TestQueues:
    def test_names_are_literal_and_separated_by_commas(self) -> None:
        settings = load(
            {"CRONQ_QUEUE": "cronq_jobs, gpu queue,cronq_jobs", "CRONQ_PLAIN_QUEUES": "old,older"}
        )
        assert settings.queues == ("cronq_jobs", "gpu queue")
        assert settings.plain_queues == ("old", "older")

    @pytest.mark.parametrize("text", ["a,,b", "a,", "amq.gen-x", "a\x07b", "x" * 256])
    def test_names_that_no_broker_takes_are_refused(self, text: str) -> None:
        assert refusal(CRONQ_QUEUE=text).startswith("CRONQ_QUEUE: ")


class TestChoices:
    @pytest.mark.parametrize(
        ("name", "allowed"),
        [
            ("CRONQ_AUTH", "on, none"),
            ("CRONQ_ON_TERM", "leave, wait"),
            ("CRONQ_LOG_LEVEL", "debug, info, warning, error"),
            ("CRONQ_LOG_FORMAT", "auto, console, json"),
        ],
    )
    def test_other_words_are_refused(self, name: str, allowed: str) -> None:
        assert (
            refusal(**{name: "maybe"}) == f"{name}: 'maybe' is none of the allowed words; allowed: {allowed}"
        )

    def test_case_does_not_matter(self) -> None:
        assert load({"CRONQ_LOG_LEVEL": "WARNING"}).log_level == "warning"

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
    def test_no_login_is_allowed_on_loopback(self, host: str) -> None:
        assert load({"CRONQ_AUTH": "none"}).require_safe_host(host) == host

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "web.example"])
    def test_no_login_is_refused_elsewhere_unless_asked_for_twice(self, host: str) -> None:
        with pytest.raises(ConfigError, match="CRONQ_AUTH: 'none' is allowed on a loopback address only"):
            load({"CRONQ_AUTH": "none"}).require_safe_host(host)
        anywhere = load({"CRONQ_AUTH": "none", "CRONQ_AUTH_NONE_ANYWHERE": "1"})
        assert anywhere.require_safe_host(host) == host
        assert load({}).require_safe_host(host) == host


class TestSecretKey:
    @pytest.mark.parametrize(
        "key", ["short", "123456789012345", "changeme-changeme", "Change_Me_Change_Me", "a" * 40]
    )
    def test_weak_key_is_refused_with_the_generating_command(self, key: str) -> None:
        text = refusal(CRONQ_SECRET_KEY=key)
        assert text.startswith("CRONQ_SECRET_KEY: *** ")
        assert NEW_SECRET_KEY in text
        assert key not in text

    @pytest.mark.parametrize("key", ["", "short"])
    def test_service_that_needs_one_gets_the_generating_command(self, key: str) -> None:
        with pytest.raises(ConfigError) as refused:
            load({"SECRET_KEY": key}).require_secret_key()
        assert str(refused.value) == f"CRONQ_SECRET_KEY is not set; make one with: {NEW_SECRET_KEY}"

    def test_good_key_is_kept(self) -> None:
        assert load({"CRONQ_SECRET_KEY": GOOD_KEY}).require_secret_key() == GOOD_KEY

    def test_old_name_is_read_with_a_notice(self) -> None:
        settings = load({"SECRET_KEY": GOOD_KEY})
        assert settings.require_secret_key() == GOOD_KEY
        assert settings.notices == ("SECRET_KEY is an old name of CRONQ_SECRET_KEY",)

    def test_weak_key_of_another_program_is_not_used_and_stops_nobody(self) -> None:
        settings = load({"SECRET_KEY": "dev"})
        assert settings.secret_key is None
        assert settings.notices[0].startswith(
            "not used as CRONQ_SECRET_KEY: SECRET_KEY: *** has only 3 characters"
        )


class TestSecretFiles:
    @pytest.mark.parametrize(
        ("name", "field", "value"),
        [
            ("CRONQ_API_TOKEN", "api_token", "cronq_pat_0123456789"),
            ("CRONQ_TOKEN", "token", "cronq_pat_0123456789"),
            ("CRONQ_SECRET_KEY", "secret_key", GOOD_KEY),
            ("SECRET_KEY", "secret_key", GOOD_KEY),
            ("CRONQ_SIGNING_KEY", "signing_key", "k1:abc"),
            ("CRONQ_TRUSTED_KEYS", "trusted_keys", "k1:abc"),
            ("DATABASE_URL", "database_url", "mysql+pymysql://u:p@h/d"),
            ("CRONQ_MYSQL", "database_url", "mysql+pymysql://u:p@h/d"),
            ("RABBITMQ_URL", "rabbitmq_url", "amqp://u:p@h/"),
        ],
    )
    def test_every_secret_can_come_from_a_file(
        self, tmp_path: Path, name: str, field: str, value: str
    ) -> None:
        path = tmp_path / "secret"
        path.write_text(value + "\n")
        path.chmod(0o600)
        settings = load({f"{name}_FILE": str(path)})
        assert getattr(settings, field) == value
        setting = next(each for each in SETTINGS if each.field == field)
        assert settings.sources[setting.name].startswith(f"file {path} ({name}_FILE)")

    def test_both_forms_are_refused_naming_both(self) -> None:
        assert refusal(CRONQ_TOKEN="abc", CRONQ_TOKEN_FILE="/x") == (
            "CRONQ_TOKEN and CRONQ_TOKEN_FILE are both set; allowed: one of them"
        )

    def test_unreadable_file_names_path_and_errno(self) -> None:
        assert refusal(CRONQ_TOKEN_FILE="/none/such") == (
            "CRONQ_TOKEN_FILE: cannot read /none/such: No such file or directory (errno 2, ENOENT)"
        )

    def test_wrong_value_in_a_file_names_the_file_variable(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.write_text("changeme")
        assert refusal(CRONQ_SECRET_KEY_FILE=str(path)).startswith("CRONQ_SECRET_KEY_FILE: *** has only 8")

    def test_open_key_file_is_remarked_on(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.write_text(GOOD_KEY)
        path.chmod(0o644)
        (notice,) = load({"CRONQ_SECRET_KEY_FILE": str(path)}).notices
        assert "readable by every user (mode 0644)" in notice

    def test_what_is_no_secret_has_no_file_form(self) -> None:
        (notice,) = load({"CRONQ_SLOTS_FILE": "/x"}).notices
        assert notice.startswith("CRONQ_SLOTS_FILE is not a setting")

    def test_tokens_that_no_header_carries_are_refused_unseen(self) -> None:
        assert refusal(CRONQ_API_TOKEN="my token") == (
            "CRONQ_API_TOKEN: *** has a blank or a character that a header cannot carry; "
            "allowed: printable ASCII without blanks"
        )

    def test_short_token_is_remarked_on(self) -> None:
        assert load({"CRONQ_API_TOKEN": "abc"}).notices == (
            "CRONQ_API_TOKEN: a token shorter than 16 characters can be guessed",
        )


class TestOldNames:
    @pytest.mark.parametrize("name", ["LOGGING_VERBOSE", "DEBUG"])
    def test_old_debug_flags_set_the_level_with_a_notice(self, name: str) -> None:
        settings = load({name: "1"})
        assert settings.log_level == "debug"
        assert settings.notices == (f"{name} is an old name of CRONQ_LOG_LEVEL=debug and does nothing else",)

    def test_old_debug_flag_that_is_off_is_off(self) -> None:
        assert load({"LOGGING_VERBOSE": "0", "DEBUG": "false"}).log_level == "info"

    def test_present_name_wins_over_the_old_flags(self) -> None:
        assert load({"DEBUG": "1", "CRONQ_LOG_LEVEL": "error"}).log_level == "error"

    def test_debug_of_another_program_stops_nobody(self) -> None:
        settings = load({"DEBUG": "express:*"})
        assert settings.log_level == "info"
        assert settings.notices[0].startswith("ignored: DEBUG: 'express:*' is neither on nor off")

    def test_wrong_logging_verbose_is_refused(self) -> None:
        assert refusal(LOGGING_VERBOSE="loud").startswith("LOGGING_VERBOSE: 'loud' is neither")

    @pytest.mark.parametrize("name", ["LOGGING_FILE_CONFIG", "SENTRY_DSN", "BUGSNAG_API_KEY"])
    def test_names_without_a_successor_are_ignored_with_a_notice(self, name: str) -> None:
        (notice,) = load({name: "s3cret"}).notices
        assert notice.startswith(f"{name} is ignored: ")
        assert "s3cret" not in notice

    def test_the_rest_of_the_old_names_mean_what_they_meant(self, tmp_path: Path) -> None:
        template = "https://logs/?q={run_id}&from={start_time}&to={end_time}&j={job_id}"
        settings = load(
            {
                "LOG_PATH": str(tmp_path),
                "CRONQ_LOG_URL_TEMPLATE": template,
                "PORT": "8000",
                "LISTEN_INTERFACE": "0.0.0.0",
            }
        )
        assert (settings.log_path, settings.log_url_template) == (tmp_path, template)
        assert (settings.port, settings.listen_interface) == (8000, "0.0.0.0")

    @pytest.mark.parametrize(
        "text", ["javascript:alert(1)", "https://x/{job}", "https://x/{", "//evil/{run_id}"]
    )
    def test_link_template_that_leads_nowhere_is_refused(self, text: str) -> None:
        assert refusal(CRONQ_LOG_URL_TEMPLATE=text).startswith("CRONQ_LOG_URL_TEMPLATE: ")


class TestUnknownNames:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("CRONQ_HEARTBEAT", "CRONQ_HEARTBEAT_S"),
            ("CRONQ_QUEUES", "CRONQ_QUEUE"),
            ("CRONQ_SECRETKEY", "CRONQ_SECRET_KEY"),
            ("CRONQ_API_TOKEN_FIEL", "CRONQ_API_TOKEN_FILE"),
        ],
    )
    def test_typing_error_is_a_notice_with_the_nearest_name(self, name: str, nearest: str) -> None:
        assert load({name: "1"}).notices == (f"{name} is not a setting; did you mean {nearest}?",)

    def test_name_like_no_other_is_a_notice_without_advice(self) -> None:
        assert load({"CRONQ_ZZZZZZ": "1"}).notices == ("CRONQ_ZZZZZZ is not a setting",)

    def test_variables_of_a_running_job_are_known(self) -> None:
        assert load({"CRONQ_RUN_ID": "a", "CRONQ_FENCE": "a:1", "CRONQ_JOB": "x", "OTHER": "y"}).notices == ()

    def test_service_links_of_kubernetes_are_not_settings(self) -> None:
        settings = load(
            {
                "CRONQ_WEB_SERVICE_HOST": "10.0.0.1",
                "CRONQ_WEB_SERVICE_PORT_HTTP": "80",
                "CRONQ_WEB_PORT": "tcp://10.0.0.1:80",
                "CRONQ_WEB_PORT_80_TCP_ADDR": "10.0.0.1",
            }
        )
        assert settings.notices == ()

    def test_service_link_in_place_of_a_port_is_ignored_with_a_notice(self) -> None:
        settings = load({"RABBITMQ_PORT": "tcp://10.0.0.1:5672", "RABBITMQ_HOST": "mq"})
        assert settings.rabbitmq_url == "amqp://guest:guest@mq:5672/%2F"
        assert "RABBITMQ_PORT is ignored: its value is a Kubernetes service link" in settings.notices


class TestShowing:
    SECRETS = {  # noqa: RUF012 - never changed
        "CRONQ_API_TOKEN": "hunter2-hunter2-hunter2",
        "CRONQ_TOKEN": "hunter2-hunter2-hunter2",
        "CRONQ_SECRET_KEY": "hunter2-8b1f0c6d",
        "CRONQ_SIGNING_KEY": "hunter2",
        "CRONQ_TRUSTED_KEYS": "hunter2",
        "DATABASE_URL": "mysql://cronq:hunter2@db/cronq",
        "RABBITMQ_URL": "amqp://cronq:hunter2@mq/",
        "CRONQ_URL": "https://me:hunter2@web/",
    }

    def test_no_secret_is_in_any_text_made_of_settings(self) -> None:
        settings = load(self.SECRETS)
        assert "hunter2" not in repr(settings)
        assert "hunter2" not in repr(describe(settings))
        assert "hunter2" not in repr(settings.notices)

    def test_secrets_show_a_mask_and_addresses_their_user(self) -> None:
        settings = load(self.SECRETS)
        assert shown(settings, "CRONQ_API_TOKEN") == ("***", "environment CRONQ_API_TOKEN")
        assert shown(settings, "DATABASE_URL")[0] == "mysql+pymysql://cronq:***@db/cronq"

    def test_values_show_as_an_operator_would_write_them(self) -> None:
        settings = load({"CRONQ_QUEUE": "a,b", "CRONQ_RUNNER_LOG_TO_STDOUT": "yes", "CRONQ_POLL_S": "0.50"})
        assert shown(settings, "CRONQ_QUEUE")[0] == "a,b"
        assert shown(settings, "CRONQ_RUNNER_LOG_TO_STDOUT")[0] == "on"
        assert shown(settings, "CRONQ_POLL_S")[0] == "0.5"
        assert shown(settings, "CRONQ_TOKEN") == ("", "default")

    def test_long_value_is_cut_in_an_error(self) -> None:
        assert len(refusal(CRONQ_AUTH="x" * 10_000)) < 300

    def test_error_is_one_line_and_78(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert report(ConfigError("a\nb")) == EXIT_CONFIG == 78
        assert capsys.readouterr().err == "cronq: a b\n"


@pytest.mark.parametrize("url", ["https://cronq.example/base/", "http://localhost:8080"])
def test_address_of_the_web_is_kept_without_its_last_slash(url: str) -> None:
    assert load({"CRONQ_URL": url}).url == url.rstrip("/")


@pytest.mark.parametrize("url", ["cronq.example", "ftp://h", "http://", "http://h:port", "http://[::1"])
def test_other_addresses_of_the_web_are_refused(url: str) -> None:
    assert refusal(CRONQ_URL=url).startswith(f"CRONQ_URL: {url!r} is not a web address")


def test_relative_state_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load({"CRONQ_STATE_DIR": "state"}).state_dir == tmp_path / "state"
