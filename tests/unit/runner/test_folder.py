"""The runner's folder: one runner each, and the same lineage only on the same machine in the same place."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cronq.domain.errors import ConfigError
from cronq.runner.folder import Folder, open_folder


def rewrite_identity(path: Path, **changes: object) -> None:
    file = path / "identity"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_named_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, "alpha")

    assert folder.path == tmp_path / "runners" / "alpha"
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert (folder.name, folder.previous_boot) == ("alpha", False)
    assert len(bytes.fromhex(folder.lineage)) == 16
    folder.close()


def keep_journal(folder: Folder) -> None:
    """What its keeper would have begun."""
    (folder.path / "journal-1.log").write_text("")


def test_runners_without_a_name_take_the_first_free_number(tmp_path: Path) -> None:
    first, second, third = (open_folder(tmp_path, None) for _ in range(3))
    assert [first.name, second.name, third.name] == ["0", "1", "2"]

    keep_journal(second)
    second.close()
    again = open_folder(tmp_path, None)

    assert (again.name, again.lineage) == ("1", second.lineage)
    for folder in (first, again, third):
        folder.close()


def test_fault_14_an_explicit_name_in_use_is_refused_by_name_and_holder(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, "alpha")

    with pytest.raises(ConfigError, match=rf"runner name 'alpha' is in use by process {os.getpid()} "):
        open_folder(tmp_path, "alpha")

    folder.close()
    open_folder(tmp_path, "alpha").close()


def test_the_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from cronq.runner.folder import open_folder;"
        "open_folder(Path(sys.argv[1]), 'alpha'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ConfigError, match=f"process {holder.pid} "):
            open_folder(tmp_path, "alpha")
        holder.kill()
        holder.wait()

    open_folder(tmp_path, "alpha").close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "-x", ".x", "ä", "a b", "x" * 65])
def test_names_that_are_no_plain_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="allowed are 1 to 64"):
        open_folder(tmp_path, name)

    assert list(tmp_path.iterdir()) == []


def test_the_lineage_stays_over_restarts(tmp_path: Path) -> None:
    first = open_folder(tmp_path, "a")
    keep_journal(first)
    first.close()

    second = open_folder(tmp_path, "a")

    assert second.lineage == first.lineage
    second.close()


def test_a_folder_that_lost_its_journal_does_not_vouch_for_its_past(tmp_path: Path) -> None:
    first = open_folder(tmp_path, "a")
    first.close()

    second = open_folder(tmp_path, "a")

    assert second.lineage != first.lineage
    second.close()


def test_processes_are_counted_over_restarts(tmp_path: Path) -> None:
    counts = []
    for _ in range(3):
        folder = open_folder(tmp_path, "a")
        counts.append(folder.count_process())
        folder.close()

    assert counts == [1, 2, 3]


def test_fault_14_a_copied_folder_gets_a_lineage_of_its_own_and_its_journal_is_set_aside(
    tmp_path: Path,
) -> None:
    original = open_folder(tmp_path, "a")
    (original.path / "journal-1.log").write_text("{}\n")
    original.close()
    shutil.copytree(tmp_path / "runners" / "a", tmp_path / "runners" / "b")

    copy, again = open_folder(tmp_path, "b"), open_folder(tmp_path, "a")

    assert copy.lineage != original.lineage == again.lineage
    assert not copy.previous_boot
    assert not (copy.path / "journal-1.log").exists()
    [aside] = copy.path.glob(f"aside-{original.lineage}-*")
    assert (aside / "journal-1.log").read_text() == "{}\n"
    assert (again.path / "journal-1.log").exists()
    copy.close()
    again.close()


def test_a_reboot_is_told_and_keeps_the_lineage(tmp_path: Path) -> None:
    before = open_folder(tmp_path, "a")
    keep_journal(before)
    before.close()
    rewrite_identity(before.path, boot_id="an-earlier-one", dev=12345)

    after, then = open_folder(tmp_path, "a"), None
    after.close()
    then = open_folder(tmp_path, "a")

    assert (after.previous_boot, after.lineage) == (True, before.lineage)
    assert not then.previous_boot
    then.close()


def test_a_disk_put_into_another_machine_gets_a_new_lineage(tmp_path: Path) -> None:
    here = open_folder(tmp_path, "a")
    here.close()
    rewrite_identity(here.path, boot_id="an-earlier-one", host="elsewhere")

    there = open_folder(tmp_path, "a")

    assert there.lineage != here.lineage
    assert not there.previous_boot
    there.close()


def test_a_machine_that_is_renamed_while_it_runs_stays_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = open_folder(tmp_path, "a")
    keep_journal(before)
    before.close()
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")

    after = open_folder(tmp_path, "a")

    assert after.lineage == before.lineage
    after.close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"lineage": "x"}'])
def test_an_identity_that_cannot_be_read_proves_nothing(tmp_path: Path, content: str) -> None:
    before = open_folder(tmp_path, "a")
    before.close()
    (before.path / "identity").write_text(content)
    (before.path / "journal-7.log").write_text("{}\n")

    after = open_folder(tmp_path, "a")

    assert after.lineage != before.lineage
    assert list(after.path.glob("aside-unknown-*/journal-7.log"))
    after.close()


def test_a_state_folder_that_is_a_file_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(ConfigError, match=rf"{tmp_path}/state.*: Not a directory"):
        open_folder(tmp_path / "state", None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_state_folder_that_is_not_writable_is_named_with_the_reason(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(ConfigError, match=rf"{tmp_path}.*: Permission denied"):
        open_folder(tmp_path, None)


def test_a_read_only_file_system_is_named_with_the_reason() -> None:
    with pytest.raises(ConfigError, match=r"/proc/cronq.*: (No such file|Permission denied|Operation not)"):
        open_folder(Path("/proc/cronq"), None)
