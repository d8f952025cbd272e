"""The journal: what it proves after crashes, full disks and rotation."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from cronq.runner import journal
from cronq.runner.keeper import writer as writing
from cronq.runner.keeper.wire import Message, encode
from cronq.runner.keeper.writer import Writer

RUN = "0" * 31 + "1"
BOOT = "11111111-2222-3333-4444-555555555555"


def a_record(kind: str, number: int = 1, attempt: int = 1, **fields: object) -> Message:
    return {"type": kind, "run_id": f"{number:032x}", "attempt": attempt, "at": 1000.0 + number, **fields}


def finish(writer: Writer, number: int, *, reported: bool) -> None:
    writer.append_now([a_record("go", number)])
    writer.append(a_record("started", number, pid=100 + number, ticks=[5, 5]))
    writer.append(a_record("finished", number, return_code=0))
    if reported:
        writer.append({"type": "reported", "run_id": f"{number:032x}", "attempt": 1})
    writer.flush()


def last_file(folder: Path) -> Path:
    return Path(journal.segment_path(folder, journal.segments(folder)[-1]))


def test_a_folder_without_a_journal_knows_nothing(tmp_path: Path) -> None:
    found = journal.read(tmp_path)

    assert (found.known, found.since, found.boot_id) == ({}, 0.0, "")


def test_an_attempt_goes_from_live_to_finished_to_reported(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path), BOOT)
    states = []
    for record in (
        a_record("go"),
        a_record("started", pid=7, ticks=[5, 5]),
        a_record("finished", return_code=3),
        {"type": "reported", "run_id": RUN, "attempt": 1},
    ):
        writer.append(record)
        writer.flush()
        entry = journal.read(tmp_path).known[(RUN, 1)]
        states.append((entry.state, entry.reported, entry.facts.get("pid"), entry.facts.get("return_code")))

    assert states == [
        ("live", False, None, None),
        ("live", False, 7, None),
        ("finished", False, 7, 3),
        ("finished", True, 7, 3),
    ]


@pytest.mark.parametrize("kind", ["launch_failed", "not_started", "interrupted"])
def test_other_ends_are_states_of_their_own(tmp_path: Path, kind: str) -> None:
    writer = Writer(str(tmp_path), BOOT)
    writer.append_now([a_record(kind, reason="because")])

    assert journal.read(tmp_path).known[(RUN, 1)].state == kind


def test_attempts_of_one_run_are_told_apart(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path), BOOT)
    writer.append_now([a_record("go", attempt=1), a_record("not_started", attempt=2)])

    known = journal.read(tmp_path).known

    assert {key: entry.state for key, entry in known.items()} == {(RUN, 1): "live", (RUN, 2): "not_started"}


def test_a_next_writer_refuses_what_has_a_trace_and_hands_on_what_is_unreported(tmp_path: Path) -> None:
    first = Writer(str(tmp_path), BOOT)
    finish(first, 1, reported=True)
    finish(first, 2, reported=False)

    second = Writer(str(tmp_path), BOOT)

    assert second.is_same_boot
    assert [second.has_trace((f"{n:032x}", 1)) for n in (1, 2, 3)] == [True, True, False]
    assert [entry.state for entry in second.unreported().values()] == ["finished"]
    assert second.since == first.since


def test_a_torn_last_line_does_not_count_and_spoils_nothing_after_it(tmp_path: Path) -> None:
    finish(Writer(str(tmp_path), BOOT), 1, reported=False)
    with last_file(tmp_path).open("ab") as file:
        file.write(b'{"type":"go","run_id":"' + b"2" * 20)

    again = Writer(str(tmp_path), BOOT)
    finish(again, 3, reported=False)

    assert {key[0][-1] for key in journal.read(tmp_path).known} == {"1", "3"}
    assert not again.has_trace(("2" * 32, 1))


def test_garbage_in_the_middle_is_skipped(tmp_path: Path) -> None:
    finish(Writer(str(tmp_path), BOOT), 1, reported=False)
    file = last_file(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    garbage = [b"\0" * 50 + b"\n", b"[1]\n", b'{"type":"go"}\n', b"\xff\xfe\n"]
    file.write_bytes(b"".join([lines[0], *garbage, *lines[1:]]))

    assert journal.read(tmp_path).known[(RUN, 1)].state == "finished"


def test_files_rotate_keep_what_is_open_and_only_the_newest_stay(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path), BOOT, segment_bytes=2000, segments_kept=3)
    writer.append_now([a_record("go", 1)])
    finish(writer, 2, reported=False)
    for number in range(3, 200):
        finish(writer, number, reported=True)

    known = journal.read(tmp_path).known

    numbers = journal.segments(tmp_path)
    assert len(numbers) == 3
    assert numbers[0] > 1
    assert known[(f"{1:032x}", 1)].state == "live"
    assert known[(f"{2:032x}", 1)].state == "finished"
    assert writer.has_trace((f"{199:032x}", 1))
    assert not writer.has_trace((f"{3:032x}", 1)), "it went with its file"
    assert sum(os.path.getsize(journal.segment_path(tmp_path, n)) for n in numbers) < 3 * 4000


def test_since_moves_with_the_oldest_file_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1, 10_000))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    writer = Writer(str(tmp_path), BOOT, segment_bytes=1000, segments_kept=2)
    assert (writer.since, journal.read(tmp_path).is_complete) == (1.0, True)

    for number in range(1, 30):
        finish(writer, number, reported=True)

    found = journal.read(tmp_path)
    oldest = next(journal.records(journal.segment_path(tmp_path, journal.segments(tmp_path)[0])))
    assert writer.since == found.since == oldest["since"] > 1.0
    assert not found.is_complete
    assert Writer(str(tmp_path), BOOT).since == writer.since


def test_after_a_reboot_the_past_proves_nothing_but_what_is_recorded(tmp_path: Path) -> None:
    before = Writer(str(tmp_path), BOOT)
    before.append_now([a_record("go", 1)])

    after = Writer(str(tmp_path), "another-boot")

    found = journal.read(tmp_path)
    assert not after.is_same_boot
    assert after.since == found.since > before.since
    assert not found.is_complete
    assert found.boot_id == "another-boot"
    assert after.has_trace((f"{1:032x}", 1))
    assert [entry.state for entry in after.unreported().values()] == ["live"]


class FullDisk:
    """Takes `room` bytes of what is written to any file, then nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 30
        self._write = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        taken = self._write(fd, bytes(data)[: self.room]) if self.room else 0
        self.room -= taken
        if data and not taken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return taken


@pytest.mark.parametrize("room", [0, 1, 40, 80])
def test_what_the_disk_does_not_take_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    writer, disk = Writer(str(tmp_path), BOOT), FullDisk(monkeypatch)
    disk.room = room

    assert writer.append_now([a_record("go", 1)]) == []
    assert writer.trouble == "no space left on device"
    assert not writer.has_trace((RUN, 1))

    disk.room = 1 << 30
    finish(writer, 2, reported=False)
    assert writer.trouble == ""
    assert {key[0][-1] for key in journal.read(tmp_path).known} == {"2"}


def test_a_disk_that_fills_up_takes_the_first_of_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, disk = Writer(str(tmp_path), BOOT), FullDisk(monkeypatch)
    size = len(encode(a_record("go", 1)))
    disk.room = 2 * size - 1  # all of two lines, but for the newline

    lines = writer.append_now([a_record("go", n) for n in (1, 2, 3)])

    disk.room = 1 << 30
    finish(writer, 4, reported=False)
    assert len(lines) == 2
    assert {key[0][-1] for key in journal.read(tmp_path).known} == {"1", "2", "4"}
    assert [writer.has_trace((f"{n:032x}", 1)) for n in (1, 2, 3, 4)] == [True, True, False, True]


def test_an_end_that_the_disk_did_not_take_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, disk = Writer(str(tmp_path), BOOT), FullDisk(monkeypatch)
    writer.append_now([a_record("go", 1)])
    disk.room = 30
    writer.append(a_record("finished", 1, return_code=0))
    assert not writer.flush()

    disk.room = 1 << 30

    assert writer.flush()
    assert journal.read(tmp_path).known[(RUN, 1)].state == "finished"


def test_a_rotation_that_finds_no_room_goes_on_in_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(str(tmp_path), BOOT, segment_bytes=500)

    def refuse(path: str, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_write_new", refuse)
        for number in range(1, 10):
            finish(writer, number, reported=False)
        assert journal.segments(tmp_path) == [1]
    finish(writer, 10, reported=False)

    assert journal.segments(tmp_path) == [1, 2]
    assert len(journal.read(tmp_path).known) == 10
