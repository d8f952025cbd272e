"""What this host's injectors know to be committed, kept on disk: a restart must not forget it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from cronq import store
from cronq.store import epoch
from cronq.store.epoch import Epoch, Witness

log = structlog.get_logger()

FILE = "witness.json"


class Memory:
    """One witness in a file. Several injectors of a host share it: what any of them wrote is true."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._witness = _read(self._path)
        self._saved: Witness | None = None
        self._trouble = ""

    def check(self, tx: store.Tx, now: datetime) -> Epoch:
        """The epoch to work in; raises Held. To be called in the transaction that does the work."""
        current = epoch.current(tx)
        self._witness = epoch.check(tx, self._witness, current, now)
        return current

    def note(self, run_id: str) -> None:
        """This run was committed."""
        self._witness = replace(self._witness, run_id=run_id)

    def save(self) -> None:
        """Write what is known to the disk; without one, what this process saw still counts."""
        if self._witness == self._saved or not self._witness.installation:
            return
        fresh = self._path.with_name(f"{FILE}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(_fields(self._witness)))
            fresh.replace(self._path)
            self._saved = self._witness
            self._trouble = ""
        except OSError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                log.warning("witness.not_saved", file=str(self._path), error=self._trouble)


def _fields(witness: Witness) -> dict[str, object]:
    return {
        "installation": witness.installation,
        "epoch": witness.epoch,
        "run_id": witness.run_id,
        "step": None if witness.step is None else witness.step.isoformat(),
    }


def _read(path: Path) -> Witness:
    """What the file says; one that is unreadable says nothing."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(path.read_bytes())
        step = None if found["step"] is None else datetime.fromisoformat(found["step"])
        run_id = None if found["run_id"] is None else f"{int(found['run_id'], 16):032x}"
        return Witness(str(found["installation"]), int(found["epoch"]), run_id, step)
    return Witness("")
