from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cronq.domain.errors import ConfigError
from cronq.runtime import crash
from cronq.runtime.config import describe, load

ROOT = Path(__file__).parents[3]
CALL = re.compile(r"""reach[(,]\s*["']([^"']+)["']""")
POINT = "injector.publish.sent"

ARMED = """
from cronq.runtime import crash, log
log.configure("info", "json", "test")
crash.arm(crash.parse({target!r}))
for number in range(5):
    print(number, flush=True)
    crash.reach({point!r})
"""
KEEPER = """
from cronq.runner.keeper import crash
for number in range(5):
    print(number, flush=True)
    crash.reach({point!r}, lambda: print("first", flush=True))
"""


def run(program: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def calls() -> dict[str, list[Path]]:
    """Each name that the product's code reaches, and where."""
    found: dict[str, list[Path]] = {}
    for folder in ("services", "shared"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for name in CALL.findall(file.read_text()):
                found.setdefault(name, []).append(file.relative_to(ROOT))
    return found


class TestPoints:
    def test_each_is_reached_at_one_place(self) -> None:
        reached = Counter({name: len(files) for name, files in calls().items()})
        assert reached == Counter(dict.fromkeys(crash.POINTS, 1))

    def test_each_is_named_for_the_service_that_reaches_it(self) -> None:
        for name, [file] in calls().items():
            if file.parts[0] == "services":
                is_of_keeper = "keeper" in file.parts
                assert name.partition(".")[0] == ("keeper" if is_of_keeper else file.parts[1]), name

    def test_each_says_what_is_at_stake(self) -> None:
        assert all(stake for stake in crash.POINTS.values())


class TestParse:
    @pytest.mark.parametrize(("text", "nth"), [(POINT, 1), (f"{POINT}:1", 1), (f"{POINT}:30", 30)])
    def test_a_name_and_how_often_it_is_reached(self, text: str, nth: int) -> None:
        assert crash.parse(text) == crash.Target(POINT, nth)

    @pytest.mark.parametrize("text", [POINT, f"{POINT}:3"])
    def test_a_target_is_written_as_it_is_read(self, text: str) -> None:
        assert str(crash.parse(text)) == text

    @pytest.mark.parametrize("end", [":", ":0", ":-1", ":x", ":1:2", ": 1", ":1000000"])
    def test_what_is_no_count_is_refused(self, end: str) -> None:
        with pytest.raises(ValueError, match="does not end in a number from 1 to 999999"):
            crash.parse(POINT + end)

    def test_an_unknown_name_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(ValueError, match=f"is no crash point; did you mean {POINT}"):
            crash.parse("injector.publish.send:2")

    def test_a_name_like_no_other_is_refused_without_advice(self) -> None:
        with pytest.raises(ValueError, match=r"is no crash point$"):
            crash.parse("xyz")


class TestReach:
    def test_kills_the_process_at_the_point(self) -> None:
        done = run(ARMED.format(target=POINT, point=POINT))
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n")
        assert done.stderr.endswith(f"crash point {POINT}\n")

    def test_kills_the_process_at_the_nth_time_only(self) -> None:
        done = run(ARMED.format(target=f"{POINT}:3", point=POINT))
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n1\n2\n")

    def test_does_nothing_at_another_point(self) -> None:
        done = run(ARMED.format(target=POINT, point="injector.publish.marked"))
        assert (done.returncode, done.stdout) == (0, "0\n1\n2\n3\n4\n")

    def test_does_nothing_unless_armed(self) -> None:
        crash.arm(None)
        for point in crash.POINTS:
            crash.reach(point)

    def test_arming_warns(self) -> None:
        with capture_logs() as logs:
            crash.arm(crash.Target(POINT, 1_000))
            crash.arm(None)
        [entry] = logs
        assert (entry["event"], entry["log_level"], entry["point"]) == (
            "crash.armed",
            "warning",
            f"{POINT}:1000",
        )


class TestSetting:
    def test_is_none_by_default(self) -> None:
        assert load({}).crash_point is None

    def test_is_read_and_shown(self) -> None:
        settings = load({"CRONQ_CRASH_POINT": f"{POINT}:3"})
        assert settings.crash_point == crash.Target(POINT, 3)
        [row] = [row for row in describe(settings) if row.name == "CRONQ_CRASH_POINT"]
        assert (row.value, row.source) == (f"{POINT}:3", "environment CRONQ_CRASH_POINT")
        assert settings.notices == ()

    def test_an_unknown_name_is_a_configuration_error(self) -> None:
        with pytest.raises(ConfigError) as refused:
            load({"CRONQ_CRASH_POINT": "runner.start.orderd"})
        assert str(refused.value) == (
            "CRONQ_CRASH_POINT: 'runner.start.orderd' is no crash point; did you mean runner.start.ordered?; "
            "allowed: a name in cronq.runtime.crash, or one with :n for the nth time"
        )


class TestKeeper:
    POINT = "keeper.finish.recorded"

    def test_dies_at_its_point_after_what_had_to_come_first(self) -> None:
        done = run(KEEPER.format(point=self.POINT), CRONQ_CRASH_POINT=f"{self.POINT}:2")
        assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n1\nfirst\n")
        assert done.stderr.endswith(f"crash point {self.POINT}\n")

    @pytest.mark.parametrize("variable", ["", "keeper.finish.told", "runner.start.told"])
    def test_lives_on_at_any_other(self, variable: str) -> None:
        done = run(KEEPER.format(point=self.POINT), CRONQ_CRASH_POINT=variable)
        assert (done.returncode, done.stdout) == (0, "0\n1\n2\n3\n4\n")
