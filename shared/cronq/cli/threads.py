"""Services as threads of `cronq up`: each ends by itself, in the order that their messages need."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cronq.domain.errors import ConfigError
from cronq.runtime.service import Loop, Service, Stop

END_WITHIN_S = 10.0


class ServiceThread:
    """A service in a thread, which begins at once."""

    def __init__(self, service: Service, poll_s: float, refuse: Callable[[ConfigError], None]) -> None:
        """`refuse` is called where its configuration turns out to be wrong."""
        self.service = service
        self._stop = Stop()
        self._refuse = refuse
        loop = Loop(service, stop=self._stop, poll_s=poll_s)
        self._thread = threading.Thread(target=self._run, args=[loop], name=service.name, daemon=True)
        self._thread.start()

    def _run(self, loop: Loop) -> None:
        try:
            loop.run()
        except ConfigError as error:
            self._refuse(error)

    def end(self) -> None:
        """Let it finish its step, then close it; blocks."""
        self._stop.set("end")
        self._thread.join(END_WITHIN_S)
        self.service.close()
