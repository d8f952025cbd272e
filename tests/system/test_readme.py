"""README as a newcomer follows it: every shell block runs as it is written, but for `replaced`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port
from tests.stack import DEADLINE_S, Api, Process, Stack, wait_until

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("curl"), reason="README's example needs curl"),
]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
[SQL_BLOCK] = re.findall(r"^```sql\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SQL = [line.partition(";")[0] for line in SQL_BLOCK.splitlines()]
DEMO, PUT, INSTALL, EXPORTS, SERVICES, MISSED = range(6)
# The newcomer's tree has none of these.
NOT_CLONED = shutil.ignore_patterns(".git", ".venv", ".demo", "__pycache__", ".*_cache", ".hypothesis")
AT_ONCE_S = 5.0
YEARLY = "0 0 1 1 *"


def replaced(block: str, **table: str) -> str:
    """A block with what README makes up replaced by what is here: all that a test changes in it."""
    made_up = {
        "prefix": "/opt/cronq",
        "database": "mysql+pymysql://cronq:secret@db.example.com/cronq",
        "broker": "amqp://cronq:secret@mq.example.com/",
        "demo": "http://127.0.0.1:8080",
    }
    for name, here in table.items():
        assert made_up[name] in block, f"README names {made_up[name]} no more"
        block = block.replace(made_up[name], here)
    return block


def inline(pattern: str) -> str:
    """What stands between backticks in README's text and begins so; once."""
    quoted: list[str] = re.findall(r"`([^`\n]+)`", README)
    found = {code for code in quoted if code.startswith(pattern)}
    assert len(found) == 1, found
    return found.pop()


def shell(script: str, *, cwd: Path, env: Mapping[str, str]) -> str:
    """Run a block to its end; what it wrote to stdout."""
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=cwd,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_readme_has_the_blocks_that_are_tried_here() -> None:
    begins = [block.split("\n")[0].split()[0] for block in BLOCKS]

    assert begins == ["make", "curl", "python3", "export", "cronq", "cronq"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of what is here."""
    return Path(shutil.copytree(ROOT, tmp_path_factory.mktemp("newcomer") / "cronq", ignore=NOT_CLONED))


@pytest.fixture(scope="module")
def installing(tree: Path) -> Iterator[Process]:
    """The installation, which has pip's output in its log."""
    stack = Stack(tree.parent)
    script = replaced(BLOCKS[INSTALL], prefix=str(tree.parent / "prefix"))
    command = ["sh", "-euc", f"cd {shlex.quote(str(tree))}\n{script}"]
    process = Process("install", command, newcomer(stack), tree.parent / "install.log")
    stack.processes.append(process.start())
    try:
        yield process
    finally:
        stack.end()


def newcomer(stack: Stack) -> dict[str, str]:
    """Nothing of ours is set, but the mark by which a stack finds its processes."""
    return {name: value for name, value in stack.env.items() if not name.startswith(("CRONQ_", "RABBITMQ_"))}


@dataclass(frozen=True)
class Demo:
    """`make demo`, ready."""

    stack: Stack
    tree: Path
    process: Process
    api: Api

    def shell(self, script: str) -> str:
        return shell(script, cwd=self.tree, env=newcomer(self.stack))

    def put(self) -> str:
        return self.shell(replaced(BLOCKS[PUT], demo=self.api.url))

    def job(self) -> dict[str, Any]:
        [job] = self.api.get("/api/jobs?category.name=example")["data"]["jobs"]
        return dict(job)


@pytest.fixture(scope="module")
def demo(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    stack = Stack(tmp_path_factory.mktemp("demo"))
    stack.state = tree / ".demo"
    command = ["sh", "-c", f"cd {shlex.quote(str(tree))}; {BLOCKS[DEMO]}"]
    process = Process("demo", command, newcomer(stack), stack.folder / "demo.log")
    stack.processes.append(process.start())
    try:
        url = process.ready_line("ready http").split()[1]
        yield Demo(stack, tree, process, Api(url))
    finally:
        stack.end()


def test_the_example_put_twice_changes_nothing_the_second_time(demo: Demo) -> None:
    assert '"added":["Test Job"]' in demo.put()
    next_run = demo.job()["next_run"]

    assert '"changed":false' in demo.put()
    assert demo.job()["next_run"] == next_run


def test_the_services_run_from_what_was_installed(stack: Stack, tree: Path, installing: Process) -> None:
    assert installing.exit_code(100) == 0, installing.output()
    env = exported(stack, tree)
    upgrade, *lines = [line for line in BLOCKS[SERVICES].splitlines() if line]
    shell(upgrade, cwd=stack.folder, env=env)
    services = [Process(line.split()[1], ["sh", "-c", f"exec {line}"], env, stack.folder / line.split()[1])
                for line in lines]  # fmt: skip
    stack.processes += services
    stack.start(*services)

    api = Api(f"http://127.0.0.1:{env['PORT']}")
    jobs = [{"name": "backup", "schedule": YEARLY, "command": "echo saved", "routing_key": "slow"}]
    assert api.ask("PUT", "/api/category/example", {"jobs": jobs}).status == 401
    token = {"Authorization": f"Bearer {env['CRONQ_API_TOKEN']}"}
    assert api.ask("PUT", "/api/category/example", {"jobs": jobs}, **token).status == 200
    for statement in SQL:
        stack.database.rows(statement)
    [run] = wait_until("it has succeeded", lambda: runs_of(api, "backup"), AT_ONCE_S)
    wait_until("its output is there", lambda: api.output(run["id"]) == "saved\n")
    wait_until("what was inserted has run as well", lambda: runs_of(api, "hello"), AT_ONCE_S)

    assert "CRONQ_API_TOKEN" in shell(inline("cronq config show"), cwd=stack.folder, env=env)
    assert "✗" not in shell(inline("cronq doctor"), cwd=stack.folder, env=env)
    assert len(shell(inline("cronq next"), cwd=stack.folder, env=env).splitlines()) == 10
    assert "3 hours after 21, not 7" in shell(inline("cronq explain"), cwd=stack.folder, env=env)
    # Whoever runs this may have a crontab that leaves something to decide.
    assert "; lines: " in shell(f"{inline('crontab -l')} || true", cwd=stack.folder, env=env)
    assert "at once, at " in shell(inline("cronq forecast"), cwd=stack.folder, env=env)
    assert api.ask("PUT", "/api/category/ops", {"jobs": jobs}, **token).status == 200
    for line in filter(None, BLOCKS[MISSED].splitlines()):
        shell(line, cwd=stack.folder, env=env)
    try_gunicorn(stack, env, BLOCKS[SERVICES].rpartition("or: ")[2].strip())
    assert [service.terminate() for service in services] == [0] * len(services)


def test_the_example_runs_each_minute_and_leaves_its_history(demo: Demo) -> None:
    """Last but one, so that the others take up the minute."""
    runs = f"/api/runs?job.id={demo.job()['id']}"
    wait_until("it has run in its minute", lambda: demo.api.get(runs)["data"]["runs"], DEADLINE_S + AT_ONCE_S)
    wait_until("it has started", lambda: demo.api.get(runs)["data"]["runs"][0]["started_at"])
    seen = demo.api.get(runs)["data"]["runs"]
    assert all(run["scheduled_for"].endswith(":00Z") and run["trigger"] == "schedule" for run in seen)

    demo.api.put_category("example")

    assert demo.api.get("/api/jobs?category.name=example")["data"]["jobs"] == []
    kept = demo.api.get(runs)["data"]["runs"]
    assert {run["id"] for run in seen} <= {run["id"] for run in kept}


def test_ctrl_c_ends_the_demo_and_a_reset_forgets_it(demo: Demo) -> None:
    os.killpg(demo.process.pid, signal.SIGINT)

    demo.process.exit_code()
    wait_until("all has ended", lambda: not demo.stack.services() and not demo.stack.keepers())
    demo.shell(inline("make demo-reset"))
    assert not demo.stack.state.exists()


def runs_of(api: Api, job: str) -> list[dict[str, Any]]:
    return [run for run in api.runs(state="succeeded") if run["job"] == job]


def exported(stack: Stack, tree: Path) -> dict[str, str]:
    """The environment that README's exports make."""
    prefix = tree.parent / "prefix"
    base = newcomer(stack) | {
        "CRONQ_STATE_DIR": str(stack.state),
        "PORT": str(free_port()),
    }
    exports = replaced(
        BLOCKS[EXPORTS], prefix=str(prefix), database=stack.database.url, broker=stack.broker.url
    )
    said = shell(f"{exports}\nenv -0", cwd=stack.folder, env=base)
    return dict(pair.split("=", 1) for pair in said.split("\0") if pair)


def try_gunicorn(stack: Stack, env: dict[str, str], line: str) -> None:
    port = free_port()
    command = ["sh", "-c", f"exec {line}"]
    env = env | {"GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port} --no-control-socket"}
    process = Process("gunicorn", command, env, stack.folder / "gunicorn.log")
    stack.processes.append(process.start())
    process.wait_for_log("Listening at")
    assert Api(f"http://127.0.0.1:{port}").get("/readyz")["status"] == "ready"
    assert process.terminate() == 0
