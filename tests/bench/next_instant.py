"""What one next instant costs, beside croniter and cronsim: `python -m tests.bench next`.

Warm is what an injector pays: the expression was parsed before (ours is looked up in the cache of parsed
ones each time; the others get their parsed object for nothing) and the zone is known. Cold is the first
one in a process: it is parsed, and nothing is known of the zone. The libraries take turns at each instant,
in an order that changes, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import perf_counter_ns
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

from cronq.domain import cron, cron_days, timeline
from cronq.domain.schedule import parse

# The budget, for the median of all expressions, warm.
LIMIT_US = 60
INSTANTS = 200
ROUNDS = 5
COLD_INSTANTS = 40
ZONES = ("UTC", "Europe/Berlin")
EXPRESSIONS = (
    "* * * * *",
    "*/5 * * * *",
    "*/15 9-17 * * 1-5",
    "0 * * * *",
    "30 * * * *",
    "0 */6 * * *",
    "0 0 * * *",
    "30 2 * * *",
    "15 4 * * 1-5",
    "0 9 * * 1",
    "0 0 1 * *",
    "0 0 1 1 *",
    "0 12 1,15 * *",
    "0 3 * * 0",
    "0 8-18 * * 1-5",
    "5 4 29 2 *",
)

# Of a zone, an expression and an instant, a step to be timed; it returns the next instant.
Step = Callable[[], datetime | None]
Maker = Callable[[str, str, datetime], Step]


def main() -> None:
    print(json.dumps(measure(), indent=2))


def measure() -> dict[str, object]:
    """Medians in microseconds: of each expression in each zone, and over all of these."""
    warm = {f"{text} {zone}": _medians(_WARM, text, zone, INSTANTS) for zone in ZONES for text in EXPRESSIONS}
    cold = {
        f"{text} {zone}": _medians(_COLD, text, zone, COLD_INSTANTS) for zone in ZONES for text in EXPRESSIONS
    }
    overall = _overall(warm)
    return {
        "next_instant_us": overall,
        "next_instant_cold_us": _overall(cold),
        "next_instant_limit_us": LIMIT_US,
        "next_instant_is_within": overall["cronq"] <= LIMIT_US,
        "next_instant_others_differ": {
            name: _differing(maker) for name, maker in _WARM.items() if name != "cronq"
        },
        "next_instant_us_each": warm,
        "next_instant_cold_us_each": cold,
    }


def _medians(makers: Mapping[str, Maker], text: str, zone: str, count: int) -> dict[str, float]:
    taken: dict[str, list[int]] = {name: [] for name in makers}
    names = list(makers)
    for number, instant in enumerate(_instants(count) * ROUNDS):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            step = makers[name](text, zone, instant)
            began = perf_counter_ns()
            step()
            taken[name].append(perf_counter_ns() - began)
    return {name: round(statistics.median(each) / 1000, 2) for name, each in taken.items()}


def _overall(each: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    names = next(iter(each.values()))
    return {name: round(statistics.median(medians[name] for medians in each.values()), 2) for name in names}


def _instants(count: int) -> list[datetime]:
    """The same ones each time, anywhere in three years."""
    drawn = random.Random(7)
    return [
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=drawn.randrange(3 * 365 * 86_400))
        for _ in range(count)
    ]


def _differing(maker: Maker) -> int:
    """In how many of the cases the other's instant is not ours; around changes of the clocks, that is."""
    return sum(
        _utc(maker(text, zone, at)()) != _utc(_ours(text, zone, at)())
        for zone in ZONES
        for text in EXPRESSIONS
        for at in _instants(INSTANTS)
    )


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)


# -- warm


def _ours(text: str, zone: str, at: datetime) -> Step:
    return lambda: parse(text, timezone=zone).next_after(at)


def _croniter(text: str, zone: str, at: datetime) -> Step:
    local = at.astimezone(ZoneInfo(zone))
    parsed = croniter(text, local)
    return lambda: parsed.get_next(datetime, start_time=local)


def _cronsim(text: str, zone: str, at: datetime) -> Step:
    parsed = CronSim(text, _local(zone, at))
    return lambda: next(parsed)


def _local(zone: str, at: datetime) -> datetime:
    """cronsim has a short way for UTC."""
    return at if zone == "UTC" else at.astimezone(ZoneInfo(zone))


# -- cold


def _ours_cold(text: str, zone: str, at: datetime) -> Step:
    cron_days.calendar.cache_clear()
    timeline._spans.cache_clear()
    return lambda: cron.parse(text, timezone=zone, dst="cron").next_after(at)


def _croniter_cold(text: str, zone: str, at: datetime) -> Step:
    local = at.astimezone(ZoneInfo(zone))
    return lambda: croniter(text, local).get_next(datetime)


def _cronsim_cold(text: str, zone: str, at: datetime) -> Step:
    local = _local(zone, at)
    return lambda: next(CronSim(text, local))


_WARM: Mapping[str, Maker] = {"cronq": _ours, "croniter": _croniter, "cronsim": _cronsim}
_COLD: Mapping[str, Maker] = {"cronq": _ours_cold, "croniter": _croniter_cold, "cronsim": _cronsim_cold}


if __name__ == "__main__":
    main()
