"""What is done to a deployment while its tasks push, and that every run ends well by itself all the same.

Each drill begins when a worker is in the middle of a push, as its line to the store shows. Then a worker, a
server or the way between them is taken away. Nobody touches a task: Airflow tries again what was lost. In the
end the run has succeeded, and each value that was read was whole, and of the try that by Airflow's word has
made it.

`make drills PROJECT=folder` runs them with a project of one's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from airflows import NotYetError, Run
from projects import BACKENDS, ROWS_PER_TRY, Bake, BakedProject, Machine
from workers import Deployment, Line

pytestmark = [pytest.mark.slow, pytest.mark.drill]

DAGS = (Path(__file__).parent / "dags" / "drill.py",)
OWN = os.environ.get("XCOM_DRILL_PROJECT", "")  # a project's folder
SIZE = {"db": 300_000, "s3": 6_000_000, "redis": 6_000_000}  # bytes
MIDDLE = 150_000  # bytes of a connection, after which a push has begun and not ended
ROOM = 800  # MiB of the object store's disk
# Nothing is patient: else each drill took the minutes that Airflow waits by default.
SETTINGS = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "40",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    # A task that is put back more often fails, whatever its retries: 3 × 60 s pass on a busy machine.
    "AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "100",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
ERROR = re.compile(r'"exc_type": ?"(\w+)"')
Rows = list[tuple[str, ...]]


def chosen() -> list[str]:
    """The backends that the drills are for: of a project of one's own, its own."""
    if not OWN:
        return BACKENDS
    link = json.loads((Path(OWN) / ".cruft.json").read_text(encoding="utf-8"))
    return [str(link["context"]["cookiecutter"]["xcom_backend"])]


@pytest.fixture(scope="module", params=chosen())
def deployment(
    request: pytest.FixtureRequest,
    bake_into: Bake,
    machine: Machine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployment]:
    """Two workers, which reach api-server and store by lines of their own."""
    folder = tmp_path_factory.mktemp(request.param)
    if OWN:
        left_out = shutil.ignore_patterns(".airflow", ".git", ".tools", ".venv", "connections.env", "output")
        copy = shutil.copytree(OWN, folder / "project", symlinks=True, ignore=left_out)
        project = BakedProject(copy, {"xcom_backend": request.param}, machine)
    else:
        project = bake_into(folder / "project", xcom_backend=request.param, executor="CeleryExecutor")
    with small_disk(folder / "s3", request.param == "s3"):
        with Deployment(project, folder, dags=DAGS, lines=True, settings=SETTINGS) as running:
            running.switch_on("drill")
            yield running


@contextmanager
def small_disk(folder: Path, wanted: bool) -> Iterator[None]:
    """A disk for the object store that can be filled up, where one can be had."""
    folder.mkdir()
    if not wanted or sys.platform != "linux" or os.geteuid() != 0:
        yield
        return
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}m", "tmpfs", folder]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)


class Drill:
    """One run, during which something is done to the deployment."""

    def __init__(self, deployment: Deployment, what: str, seen: Rows, *, gate: bool = False) -> None:
        self.deployment, self.what, self._seen = deployment, what, seen
        name = re.sub(r"\W+", "-", what)
        self._notes = deployment.home / "notes" / name
        self._notes.mkdir(parents=True)
        if not gate:
            self.open()
        before = len(deployment.restarted)
        self._restarted = lambda: deployment.restarted[before:]
        self._conf = {"notes": str(self._notes), "size": SIZE[deployment.name]}
        self._name = name
        self.run: Run | None = None

    def open(self) -> None:
        """Let readers read."""
        (self._notes / "gate").touch()

    def begin(self) -> Run:
        """Start the run."""
        self._began = time.monotonic()
        self.run = self.deployment.run("drill", self._name, self._conf)
        return self.run

    def line(self, worker: str) -> Line:
        """The way by which a worker's XComs go."""
        machine = self.deployment.machines[worker]
        found = machine.store or machine.api
        assert found
        return found

    @property
    def workers(self) -> list[str]:
        """Their names."""
        return [name for name, machine in self.deployment.machines.items() if machine.service == "worker"]

    def in_the_middle(
        self, at: Callable[[bytes, int], bool] | None = None, line: Callable[[str], Line] | None = None
    ) -> str:
        """Begin, and wait until a worker is in the middle of a push: its name. Its line stands still."""
        lines = {name: (line or self.line)(name) for name in self.workers}
        for each in lines.values():
            each.hold(at or (lambda data, before: before > MIDDLE))
        self.begin()

        def held() -> list[str]:
            return [name for name, each in lines.items() if each.held.is_set()]

        worker = self.deployment.wait_for("a push", held)[0]
        for name, each in lines.items():
            if name != worker:
                each.flow()
        return worker

    def tasks(self) -> list[dict[str, object]]:
        """What Airflow knows of the run's tasks."""
        assert self.run
        found: list[dict[str, object]] = self.run.ask("/taskInstances")["task_instances"]
        return found

    def tried_again(self) -> bool:
        """Whether the try of some task has failed."""
        return any(
            task["state"] == "up_for_retry" or int(str(task["try_number"])) > 1 for task in self.tasks()
        )

    def ended_well(self) -> None:
        """Wait for the end of the run, and look at all that was read."""
        assert self.run
        deployment = self.deployment

        def over() -> str:
            try:
                state: str = self.run.ask()["state"] if self.run else ""
            except NotYetError:
                deployment._log_in()
                raise
            return state if state in ("success", "failed") else ""

        state = deployment.wait_for("the end of the run", over)
        seconds = time.monotonic() - self._began
        assert state == "success", deployment.logs()
        made = {str(task["task_id"]): task["try_number"] for task in self.tasks()}
        notes = [json.loads(path.read_text(encoding="utf-8")) for path in self._notes.glob("read-*")]
        assert {note["number"] for note in notes} == {0, 1, 2, 3}
        assert [note for note in notes if not note["right"]] == []
        last = {note["number"]: note["attempt"] for note in notes}
        assert {f"make_{number}": attempt for number, attempt in last.items()} == {
            name: attempt for name, attempt in made.items() if name.startswith("make_")
        }
        again = sum(int(str(number)) - 1 for name, number in made.items() if name != "gate")
        started = Counter(self._restarted())
        self._seen.append(
            (
                deployment.name,
                self.what,
                str(again),
                ", ".join(sorted(self.errors())) or "-",
                ", ".join(f"{name} {count}×" for name, count in sorted(started.items())) or "-",
                f"{seconds:.0f}",
            )
        )

    def errors(self) -> set[str]:
        """The kinds of errors in the logs of the run's tries."""
        logs = (self.deployment.home / "machines").glob(
            f"worker-*/logs/dag_id=drill/run_id={self._name}/*/attempt=*.log"
        )
        return {name for log in logs for name in ERROR.findall(log.read_text("utf-8", "replace"))}


def test_a_worker_dies_in_the_middle_of_a_push(deployment: Deployment, seen: Rows) -> None:
    drill = Drill(deployment, "worker killed in the middle of a push", seen)
    worker = drill.in_the_middle()
    deployment.kill(worker)
    drill.line(worker).flow()
    drill.ended_well()
    assert drill.tried_again()
    deployment.up(worker)


def test_a_worker_stands_still_until_others_have_done_its_work(deployment: Deployment, seen: Rows) -> None:
    """And goes on with the push that it was at. Only then is anything read."""
    drill = Drill(deployment, "worker frozen past the heartbeat timeout, and resumed", seen, gate=True)
    worker = drill.in_the_middle()
    deployment.send(worker, signal.SIGSTOP)
    drill.line(worker).flow()

    def made() -> bool:
        states = {str(task["task_id"]): task["state"] for task in drill.tasks()}
        return all(state == "success" for name, state in states.items() if name.startswith("make_"))

    deployment.wait_for("the others", made)
    assert drill.tried_again()
    deployment.send(worker, signal.SIGCONT)
    drill.open()
    drill.ended_well()


def test_the_store_is_started_anew(deployment: Deployment, seen: Rows) -> None:
    if deployment.name == "db":
        pytest.skip("it is Airflow's database, which has a drill of its own")
    drill = Drill(deployment, "XCom store killed in the middle of a push, and started again", seen)
    worker = drill.in_the_middle()
    deployment.store.kill()
    drill.line(worker).flow()
    deployment.store.start()
    drill.ended_well()


def test_the_store_is_full(deployment: Deployment, seen: Rows) -> None:
    drill = Drill(deployment, "XCom store full, until there is room again", seen)
    with full(deployment):
        drill.begin()
        deployment.wait_for("a try that failed", drill.tried_again)
    drill.ended_well()


@contextmanager
def full(deployment: Deployment) -> Iterator[None]:
    """A store that takes nothing more."""
    if deployment.name == "redis":
        password = deployment.secrets["VALKEY_PASSWORD"]
        with redis.Redis(port=deployment.store.port, password=password) as client:
            before = client.config_get("maxmemory")["maxmemory"]
            client.config_set("maxmemory", 4 * 2**20)
            try:
                yield
            finally:
                client.config_set("maxmemory", before)
        return
    folder = deployment.store.folder
    if deployment.name == "db" or not os.path.ismount(folder):
        pytest.skip("it is no disk of its own that could be filled")
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


def test_a_worker_is_cut_off_from_the_store(deployment: Deployment, seen: Rows) -> None:
    drill = Drill(deployment, "worker cut off from the XCom store in the middle of a push", seen)
    worker = drill.in_the_middle()
    drill.line(worker).cut()
    deployment.wait_for("a try that failed", drill.tried_again)
    drill.line(worker).flow()
    drill.ended_well()


def test_the_database_is_started_anew(deployment: Deployment, seen: Rows) -> None:
    drill = Drill(deployment, "Airflow's database killed in the middle of a push, and started again", seen)
    worker = drill.in_the_middle()
    deployment.servers["postgres"].kill()
    drill.line(worker).flow()
    deployment.servers["postgres"].start()
    drill.ended_well()
    deployment.wait_for("all to be well", deployment.is_well)


@pytest.mark.skipif(ROWS_PER_TRY, reason="nothing is asked there")
def test_the_api_server_ends_while_a_push_asks_whether_its_try_is_current(
    deployment: Deployment, seen: Rows
) -> None:
    drill = Drill(deployment, "api-server killed while a push asks whether its try is current", seen)

    def api(worker: str) -> Line:
        line = deployment.machines[worker].api
        assert line
        return line

    worker = drill.in_the_middle(lambda data, before: b"DELETE /execution/store/ti/" in data, api)
    deployment.kill("api-server")
    api(worker).flow()
    deployment.up("api-server")
    drill.ended_well()
