"""A MariaDB and a RabbitMQ of one's own: free loopback ports, a temporary folder, gone at the end.

Tests get them from the fixtures in conftest.py. By hand:

    python tests/servers.py --print-env

starts both, prints DATABASE_URL and RABBITMQ_URL, and runs until SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

RABBITMQ_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # the one on PATH drops to another user
_START_S = 60.0
_STOP_S = 20.0


class ServerFailed(Exception):
    """A server did not come up; the text ends with its log."""


def missing(kind: str) -> str | None:
    """Why this kind of server can't be started here, or None."""
    if kind == "mariadb":
        needed = ["mariadbd", "mariadb-install-db"]
    else:
        needed = [str(RABBITMQ_SERVER), "epmd", "erl_call"]
    return (
        None
        if all(map(shutil.which, needed))
        else f"{kind}-server is not installed (apt-get install {kind}-server)"
    )


class _Process:
    """One child process, which dies with us whatever happens."""

    def __init__(self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                start_new_session=True,
            )
        self._log = log

    @property
    def pid(self) -> int:
        """Of the server itself: what starts it takes its own place by exec."""
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not is_ready():
            if not self.is_running or time.monotonic() > deadline:
                self.kill()
                raise ServerFailed(f"{self._popen.args!r}:\n{self._log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._popen.wait()

    def signal(self, number: int) -> None:
        if self.is_running:  # it leads its own group, so its children get the signal as well
            os.killpg(self._popen.pid, number)


def free_port() -> int:
    """A loopback port that nothing listens on now.

    Below the range that outgoing connections get theirs from: else one of them, or a client trying to
    reach a server that is down, could take the port of a server that restarts.
    """
    for _ in range(1000):
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED and _can_bind(port):
                return port
    raise ServerFailed("no free port")


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _new_folder(kind: str) -> Path:
    # Not under TMPDIR: the path of a socket has at most 107 bytes.
    return Path(tempfile.mkdtemp(prefix=f"cronq-{kind}-", dir="/tmp"))


class MariaDB:
    """`start` it first; databases outlive `kill`, `stop` and `restart`, and are gone at `close`."""

    def __init__(self, port: int | None = None) -> None:
        """`port` is that of a server that another process runs: then only databases and `execute`."""
        self.port = port or free_port()
        self.folder = Path() if port else _new_folder("mariadb")
        self._process: _Process | None = None

    @property
    def url(self) -> str:
        return self.database_url("")

    def database_url(self, name: str) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self.port}/{name}"

    @property
    def pid(self) -> int:
        """Of a server that was started here."""
        assert self._process is not None
        return self._process.pid

    def create_database(self, name: str = "") -> str:
        """The URL of a new, empty database; a random name by default."""
        name = name or f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE `{name}`")
        return self.database_url(name)

    def drop_database(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS `{url.rpartition('/')[2]}`")

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run one statement as root and return its rows."""
        import pymysql  # noqa: PLC0415 - only these tests need the driver

        connection = pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return [tuple(row) for row in cursor.fetchall()]
        finally:
            connection.close()

    def start(self) -> None:
        data = self.folder / "data"
        if not data.exists():
            self._install(data)
        self._process = _Process(
            [
                "mariadbd",
                "--no-defaults",
                "--user=root",
                f"--datadir={data}",
                f"--socket={self.folder / 'socket'}",
                f"--pid-file={self.folder / 'pid'}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                "--skip-networking=0",
                "--skip-name-resolve",
                "--max-connections=500",
                "--innodb-buffer-pool-size=128M",
                "--innodb-log-file-size=48M",
            ],
            self.folder / "log",
        )
        self._process.wait_until(self._is_ready)

    def stop(self) -> None:
        """Shut down in good order."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _install(self, data: Path) -> None:
        done = subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                "--user=root",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=48M",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_START_S,
        )
        if done.returncode:
            raise ServerFailed(f"mariadb-install-db:\n{done.stdout[-4000:]}")

    def _is_ready(self) -> bool:
        import pymysql  # noqa: PLC0415 - only these tests need the driver

        try:
            self.execute("SELECT 1")
        except pymysql.err.OperationalError:
            return False
        return True


class RabbitMQ:
    """`start` it first; durable queues outlive `kill`, `stop` and `restart`, and go with `wipe` and `close`.

    Its epmd (Erlang's port mapper) is its own as well, so that none is left behind on the machine.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is that of a server that another process runs: then only vhosts and `call`."""
        self.folder = folder or _new_folder("rabbitmq")
        self.settings: list[str] = []  # further lines of rabbitmq.conf, for the next start
        self._epmd: _Process | None = None
        self._process: _Process | None = None
        known = self.folder / "ports.json"
        if not known.exists():
            ports = {"port": free_port(), "dist": free_port(), "epmd": free_port()}
            known.write_text(json.dumps({**ports, "cookie": secrets.token_hex(16)}))
        saved = json.loads(known.read_text())
        self.port: int = saved["port"]
        self._dist_port: int = saved["dist"]
        self._epmd_port: int = saved["epmd"]
        self._cookie: str = saved["cookie"]
        self._node = f"cronq_test_{self.port}@localhost"

    @property
    def url(self) -> str:
        return self.vhost_url("/")

    def vhost_url(self, name: str) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{name.replace('/', '%2F')}"

    def create_vhost(self, name: str = "") -> str:
        """The URL of a new virtual host; a random name by default."""
        name = name or f"test_{secrets.token_hex(6)}"
        self.evaluate(
            f'rabbit_vhost:add(<<"{name}">>, <<"test">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
            '<<".*">>, <<".*">>, <<".*">>, <<"test">>)'
        )
        return self.vhost_url(name)

    def delete_vhost(self, url: str) -> None:
        self.evaluate(f'rabbit_vhost:delete(<<"{url.rpartition("/")[2]}">>, <<"test">>)')

    def evaluate(self, expressions: str) -> str:
        """Run Erlang inside the server; the text of the last value.

        Takes milliseconds where rabbitmqctl takes seconds.
        """
        caller = f"caller_{secrets.token_hex(6)}"  # the default, and -r, collide when two call at once
        done = subprocess.run(
            ["erl_call", "-h", caller, "-c", self._cookie, "-sname", self._node, "-e"],
            env=self._env(),
            input=f"{expressions}.\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_S,
        )
        if done.returncode or not done.stdout.startswith("{ok, "):
            raise ServerFailed(f"{expressions}: {done.stdout} {done.stderr}")
        return done.stdout.strip().removeprefix("{ok, ").removesuffix("}")

    def set_alarm(self, *, on: bool) -> None:
        """As if the disk were full: publishing connections are blocked."""
        alarm = f"{{resource_limit, disk, '{self._node}'}}"
        self.evaluate(
            f"rabbit_alarm:set_alarm({{{alarm}, []}})" if on else f"rabbit_alarm:clear_alarm({alarm})"
        )

    def start(self) -> None:
        if self._epmd is None or not self._epmd.is_running:
            epmd = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = _Process(epmd, self.folder / "epmd.log")
            self._epmd.wait_until(lambda: _accepts(self._epmd_port))
        self._configure()
        self._process = _Process([str(RABBITMQ_SERVER)], self.folder / "log", self._env())
        self._process.wait_until(self._is_ready)

    def stop(self) -> None:
        """Shut down in good order."""
        if self._process:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process:
            self._process.kill()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_running

    @property
    def pid(self) -> int:
        """Of a server that was started here."""
        assert self._process is not None
        return self._process.pid

    def freeze(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing, until `thaw`."""
        if self._process:
            self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        if self._process:
            self._process.signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Stop, forget everything, start."""
        self.kill()
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)
        self.start()

    def close(self) -> None:
        self.kill()
        if self._epmd:
            self._epmd.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configure(self) -> None:
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(self._cookie)
            cookie.chmod(0o400)
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "disk_free_limit.absolute = 1MB\n"
            "vm_memory_high_watermark.relative = 0.8\n"
            "num_acceptors.tcp = 2\n"
            "log.console = false\n" + "".join(f"{line}\n" for line in self.settings)
        )

    def _env(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": folder,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "NOTIFY_SOCKET": f"{folder}/none",  # makes the start script exec the server: one process to kill
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/no_plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _is_ready(self) -> bool:
        import pika  # noqa: PLC0415 - MariaDB alone does not need it

        if not _accepts(self.port):
            return False
        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except pika.exceptions.AMQPError:
            return False
        return True


KINDS: dict[str, Callable[[], MariaDB | RabbitMQ]] = {"mariadb": MariaDB, "rabbitmq": RabbitMQ}
VARIABLES = {"mariadb": "DATABASE_URL", "rabbitmq": "RABBITMQ_URL"}


class Guardian:
    """Servers run by another process (this file as a script), for as long as `pid` lives."""

    def __init__(self, kind: str, pid: int) -> None:
        """Blocks until the server is ready. Raises ServerFailed."""
        self._popen = subprocess.Popen(
            [sys.executable, __file__, "--print-env", "--only", kind, "--while-pid", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        self.pid = self._popen.pid
        assert self._popen.stdout
        self.env: dict[str, str] = {}
        for line in self._popen.stdout:
            name, separator, value = line.rstrip("\n").partition("=")
            if not separator:
                break
            self.env[name] = value
        if VARIABLES[kind] not in self.env:
            raise ServerFailed(f"{kind} did not start: exit code {self._popen.wait()}")


def end_process(pid: int) -> None:
    """SIGTERM, and wait until it is gone; also for what is not our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        select.select([descriptor], [], [], _STOP_S)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)


def _wait_for_end(while_pid: int | None) -> None:
    """Until a signal or, if given, the end of that process."""
    if while_pid is None:
        while True:
            signal.pause()
    descriptor = os.pidfd_open(while_pid)
    select.select([descriptor], [], [])


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--print-env", action="store_true", required=True, help="print NAME=value lines, then ready"
    )
    parser.add_argument("--only", choices=KINDS, help="start this one alone")
    parser.add_argument("--while-pid", type=int, help="end with this process")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _exit)
    servers: list[MariaDB | RabbitMQ] = []
    try:
        for kind in [options.only] if options.only else KINDS:
            servers.append(KINDS[kind]())
            servers[-1].start()
            url = servers[-1].create_database() if isinstance(servers[-1], MariaDB) else servers[-1].url
            print(f"{VARIABLES[kind]}={url}\n{kind.upper()}_FOLDER={servers[-1].folder}", flush=True)
        print("ready", flush=True)
        _wait_for_end(options.while_pid)
    finally:
        for server in servers:
            server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
