"""The command line: `cronq …`."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import click

from cronq.cli.audit import audit_command
from cronq.cli.calendars import calendars_group
from cronq.cli.child import child_command
from cronq.cli.config import config_group
from cronq.cli.database import db_group
from cronq.cli.dead import dead_group
from cronq.cli.decisions import accept_failover_command, decide_command, retry_command
from cronq.cli.demo import seed_command
from cronq.cli.doctor import doctor_command
from cronq.cli.explain import explain_command
from cronq.cli.forecast import forecast_command
from cronq.cli.import_crontab import import_group
from cronq.cli.limits import limits_group
from cronq.cli.missed import missed_group
from cronq.cli.next import next_command
from cronq.cli.pauses import (
    pause_command,
    pauses_command,
    resume_command,
    skip_command,
    snooze_command,
)
from cronq.cli.runs import cancel_command, runs_group
from cronq.cli.services import SERVER_EXTRA, LazyService, add_services, not_installed
from cronq.cli.up import up_command
from cronq.cli.why import why_command
from cronq.cli.windows import windows_group
from cronq.domain.errors import ConfigError, CronqError, Unavailable
from cronq.runtime import log

USAGE, UNREACHABLE, BAD_CONFIG, INTERRUPTED = 64, 69, 78, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cronq", prog_name="cronq")
def cronq() -> None:
    """A distributed cron: every due occurrence is accounted for, nothing runs twice."""


cronq.add_command(accept_failover_command)
cronq.add_command(audit_command)
cronq.add_command(calendars_group)
cronq.add_command(cancel_command)
cronq.add_command(child_command)
cronq.add_command(config_group)
cronq.add_command(db_group)
cronq.add_command(dead_group)
cronq.add_command(decide_command)
cronq.add_command(doctor_command)
cronq.add_command(explain_command)
cronq.add_command(import_group)
cronq.add_command(forecast_command)
cronq.add_command(limits_group)
cronq.add_command(missed_group)
cronq.add_command(next_command)
cronq.add_command(pause_command)
cronq.add_command(pauses_command)
cronq.add_command(resume_command)
cronq.add_command(retry_command)
cronq.add_command(runs_group)
cronq.add_command(seed_command)
cronq.add_command(skip_command)
cronq.add_command(snooze_command)
cronq.add_command(up_command)
cronq.add_command(windows_group)
cronq.add_command(why_command)
add_services(cronq)


def main(command: click.Command = cronq, **extra: Any) -> None:
    """Run a command line to its end, with our exit codes: 64 usage, 69 unreachable, 78 configuration."""
    log.configure("warning", "auto", "cronq")  # a service says later how it wants its own
    try:
        result = command.main(standalone_mode=False, **extra)
    except click.exceptions.Exit as error:
        raise SystemExit(error.exit_code) from None
    except click.Abort:
        raise SystemExit(INTERRUPTED) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(USAGE if isinstance(error, click.UsageError) else error.exit_code) from None
    except ModuleNotFoundError as error:
        if error.name not in SERVER_EXTRA:
            raise
        _end(not_installed("this", error))
    except CronqError as error:
        _end(error)
    raise SystemExit(result if isinstance(result, int) else 0)


def _end(error: CronqError) -> NoReturn:
    hint = getattr(error, "hint", "")
    print(f"cronq: {error}{f'; {hint}' if hint else ''}", file=sys.stderr)
    raise SystemExit(_code(error)) from None


def _code(error: CronqError) -> int:
    if isinstance(error, ConfigError):
        return BAD_CONFIG
    if isinstance(error, Unavailable):
        return UNREACHABLE
    return 1


def injector() -> None:
    """`cronq-injector`."""
    main(LazyService("injector"), prog_name="cronq-injector")


def runner() -> None:
    """`cronq-runner`."""
    main(LazyService("runner"), prog_name="cronq-runner")


def results() -> None:
    """`cronq-results`."""
    main(LazyService("results"), prog_name="cronq-results")


def web() -> None:
    """`cronq-web`."""
    main(LazyService("web"), prog_name="cronq-web")
