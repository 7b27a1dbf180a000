"""What a project tells its owner: short enough to be read, true of the project, and its examples work."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from projects import BACKENDS, TEMPLATE, Bake, BakedProject

LINES, WORDS = 330, 2100
DOCS = "packages/exclusive-xcom/docs"
# What an owner makes while reading, and what is born after baking.
TO_COME = {
    "dags/finance/shipments.py",
    "tests/finance/test_shipments.py",
    "data/shipments.csv",
    "output/",
    ".airflow/",
    ".airflow/logs/run/",
    ".airflow/logs/up/",
    ".tools/",
    ".venv/",
    ".venv/bin/",
    "dist/",
}
# What a reader types in the chapter "A pipeline of your own", in this order.
WALK = [
    "make new DAG=finance/shipments",
    "make add PACKAGES=apache-airflow-providers-postgres",
    "make connections.env",
    "make test ONLY=shipments",
    "make run ONLY=shipments",
    "make debug DAG=shipments TASK=by_country",
    ".venv/bin/xcom get shipments by_country -o totals.parquet",
]


@pytest.fixture(scope="module", params=BACKENDS)
def project(request: pytest.FixtureRequest, bake: Bake) -> BakedProject:
    """A project for each backend."""
    return bake(xcom_backend=request.param)


def blocks(text: str, language: str = "python") -> list[str]:
    """The blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_it_is_read_to_its_end(project: BakedProject) -> None:
    text = project.read("README.md")
    assert len(text.splitlines()) <= LINES and len(text.split()) <= WORDS


def test_its_links_lead_somewhere(project: BakedProject) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", project.read("README.md")):
        if "://" in link:
            continue
        target, _, part = link.partition("#")
        assert (project.path / target).is_file(), link
        titles = re.findall(r"^#+ (.+)$", project.read(target), re.MULTILINE) if part else []
        assert not part or part in {title.lower().replace(" ", "-") for title in titles}, link


def test_the_commands_that_it_names_are_there(project: BakedProject) -> None:
    targets = set(re.findall(r"^([\w.-]+):", project.read("Makefile"), re.MULTILINE))
    said = re.findall(r"(?:^ {4}|`)make ((?:[a-z.-]+ ?)+)", project.read("README.md"), re.MULTILINE)
    named = {name for words in said for name in words.split()}
    assert len(named) > 8
    assert named <= targets


def test_the_files_that_it_names_are_there(project: BakedProject) -> None:
    prose = re.sub(r"^```.*?^```$", "", project.read("README.md"), flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`([\w.-]+(?:/[\w.-]*)+)`", prose)) - TO_COME
    assert len(named) > 8
    for name in named:
        assert (project.path / name).exists(), name


def test_what_it_says_of_a_backend_is_of_its_own(project: BakedProject) -> None:
    chapters = set(re.findall(rf"\({DOCS}/(db|s3|redis)\.md\)", project.read("README.md")))
    assert chapters == {project.answers["xcom_backend"]}


def test_its_settings_have_the_defaults_of_the_chapter(project: BakedProject) -> None:
    """config/airflow.env shows every option that one may want to set, with what counts if it is not set."""
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|", project.read(f"{DOCS}/settings.md"), re.MULTILINE
    )
    column = BACKENDS.index(project.answers["xcom_backend"])
    defaults = {name: cells[column].strip("`") for name, *cells in rows}
    shown = re.findall(r"^# AIRFLOW__XCOM__(\w+)=(.*)$", project.read("config/airflow.env"), re.MULTILINE)
    assert len(shown) > 5
    for name, value in shown:
        if name != "CODECS":  # an example
            assert defaults[name.lower()] == (value or "not set"), name


def test_the_rights_that_its_policy_grants_are_those_of_the_chapter(bake: Bake) -> None:
    project = bake(xcom_backend="s3")
    policy = json.loads(project.read("config/aws-iam-policy.json"))
    granted = {
        action
        for statement in policy["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    (told,) = re.findall(r"^\*\*Rights\.\*\*(.*?)^$", project.read(f"{DOCS}/s3.md"), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(s3:\w+)`", told)) == granted


# -- the examples -------------------------------------------------------------------------------------


@dataclass
class Reader:
    """Somebody who types the README into a shell and an editor."""

    project: BakedProject
    left: list[str]

    def types(self, start: str, **options: Any) -> str:
        """Run the next command of the walk, which begins so. Returns what it printed."""
        command = self.left.pop(0)
        assert command.startswith(start)
        done = self.project.run("sh", "-c", command, COLUMNS="200", **options)
        return f"{done.stdout}{done.stderr}"

    def writes(self, name: str, text: str) -> None:
        """A file of the project."""
        write(self.project, name, text)


@pytest.fixture(scope="module")
def reader(bake_into: Bake) -> Reader:
    """A project whose owner typed every example of the README and of the chapters about tests."""
    folder = TEMPLATE / "build" / "test" / "readme"
    shutil.rmtree(folder, ignore_errors=True)
    project = bake_into(folder, xcom_backend="db")
    project.commit("As baked")
    person = Reader(project, walk(project))
    pipeline, setting, test = blocks(project.read("README.md"))
    person.types("make new")
    person.writes("data/shipments.csv", *blocks(project.read("README.md"), "csv"))
    person.writes("dags/finance/shipments.py", pipeline)
    settings = f"src/{project.package}/settings.py"
    made = re.compile(r'^class Shipments\(.*?^    \w+: .*?"\)$\n?', re.MULTILINE | re.DOTALL)
    changed, count = made.subn(lambda _: setting, project.read(settings))
    assert count == 1
    person.writes(settings, changed)
    project.make("variables")
    assert "shipments_at_least" in project.read("config/variables.json")
    person.types("make add")
    person.types("make connections.env")
    (line,) = re.findall(r"^AIRFLOW_CONN_WAREHOUSE=.*$", project.read("README.md"), re.MULTILINE)
    person.writes("connections.env", f"{project.read('connections.env')}\n{line}\n")
    person.writes("tests/finance/test_shipments.py", test)
    codec, contract = blocks(project.read(f"{DOCS}/codecs.md"))
    person.writes(f"src/{project.package}/networks.py", codec)
    (named,) = re.findall(
        r"^    (AIRFLOW__XCOM__CODECS=\S+)$", project.read(f"{DOCS}/codecs.md"), re.MULTILINE
    )
    named = named.replace("<package>", project.package)
    person.writes("config/airflow.env", f"{project.read('config/airflow.env')}{named}\n")
    person.writes("tests/test_networks.py", contract.replace("<package>", project.package) + TRAVELS)
    blocks_of_tests = blocks(project.read(f"{DOCS}/testing.md"))
    for name, sign in (("values", "def test_prices_come_back"), ("store", "class TestStore")):
        (found,) = (block for block in blocks_of_tests if sign in block)
        person.writes(f"tests/test_{name}.py", found)
    return person


def walk(project: BakedProject) -> list[str]:
    """The commands of the chapter about a pipeline of one's own."""
    chapter = project.read("README.md").partition("\n## A pipeline of your own\n")[2].partition("\n## ")[0]
    prose = re.sub(r"^```.*?^```$", "", chapter, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (\S.*)$", prose, re.MULTILINE)


TRAVELS = """

def test_it_travels(round_trip):
    value = [ip_network("10.0.0.0/8")]
    assert round_trip(value) == value


def test_no_example_has_a_deadline():
    from hypothesis import settings

    assert settings().deadline is None
"""


def write(project: BakedProject, name: str, text: str) -> None:
    """A file of the project."""
    (project.path / name).write_text(text, encoding="utf-8")


# -- every command ------------------------------------------------------------------------------------

# Commands that no test here runs as printed, and why.
ELSEWHERE = {
    "docker compose ": "needs Docker",
    "make docker-": "needs Docker",
    "make deploy-image": "needs Docker",
    "make switch": "needs the template's repository: tests/update",
    "make update": "needs the template's repository: tests/update",
    "pip install": "on the platform: test_a_platform_gets_just_what_was_tested",
    "git fetch --quiet": "in a clone for it, with a repository that is somewhere else: tests/update",
    "branch=$(make update-branch": "the same: tests/update/test_update_branch.py",
    '[ -z "$branch" ]': "the same",
    "aws s3api": "needs an account",
    ".venv/bin/xcom lifecycle": "is for s3: tests/engine/s3",
    "xcom ": "most of them ask a running Airflow: tests/engine. The chapter says where `xcom` is",
}
# What every project of a machine without uv has after its first `make`.
OWN = ("make ", ".venv/bin/", ".tools/uv ")
NO_COMMAND = re.compile(r"AIRFLOW_|AIRFLOW__|<|~PREFIX")
RUN_ID = "manual__2024-07-01T00:00:00+00:00"  # stands for one that there is
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"  # a Python, git and make, and no uv


def commands(text: str) -> list[str]:
    """What a reader is told to type: blocks of a shell, and lines that are set in. Without comments."""
    lines = [
        line
        for name in ("sh", "shell", "console")
        for block in blocks(text, name)
        for line in block.split("\n")
    ]
    prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"^    (\S.*)$", prose, re.MULTILINE)
    typed = [re.sub(r"  +# .*", "", line).strip() for line in lines]
    return [line for line in typed if line and not NO_COMMAND.match(line)]


def told(project: BakedProject) -> list[str]:
    """The commands of the README and of the chapters, in their order."""
    files = ["README.md", "packages/exclusive-xcom/README.md"]
    files += [f"{DOCS}/{path.name}" for path in sorted((project.path / DOCS).glob("*.md"))]
    return list(dict.fromkeys(line for file in files for line in commands(project.read(file))))


def test_no_command_needs_what_the_machine_may_lack(project: BakedProject) -> None:
    found = told(project)
    assert len(found) > 25
    for line in found:
        assert line.startswith((*OWN, *ELSEWHERE)), line
    for name in ["README.md", *(f"{DOCS}/{path.name}" for path in (project.path / DOCS).glob("*.md"))]:
        assert not re.search(r"`uv(x| run| sync| build)\b", project.read(name)), name


@pytest.mark.slow
@pytest.mark.installed
def test_every_command_runs_as_printed_on_a_machine_without_uv(reader: Reader) -> None:
    """After the walk, which made what some of them look at."""
    project = reader.project
    environ = {"PATH": PROGRAMS, "UV_PYTHON": "", "PORT": "0", "COLUMNS": "200"}
    done = [line for line in told(project) if line.startswith(OWN) and line not in WALK]
    project.run("sh", "-c", "rm -rf .tools && make run", **environ)
    shown = project.run("sh", "-c", ".venv/bin/xcom ls orders --json", **environ).stdout
    for line in (line for line in done if not line.startswith(tuple(ELSEWHERE))):
        line = line.replace(RUN_ID, json.loads(shown)["xcoms"][0]["run"])
        project.run("sh", "-c", line, **environ)
    assert (project.path / ".tools" / "bin" / "uv").exists()


def test_the_walk_is_what_is_tested_here(project: BakedProject) -> None:
    assert walk(project) == WALK


@pytest.mark.installed
def test_the_walk_works_as_printed(reader: Reader) -> None:
    """The warehouse of the README is not on this machine: what the shell says wins over connections.env."""
    warehouse = {"AIRFLOW_CONN_WAREHOUSE": f"sqlite://{reader.project.path}/.airflow/warehouse.db"}
    reader.types("make test")
    said = reader.types("make run", **warehouse)
    assert re.search(r"by_country +return_value +pandas DataFrame, 2 rows × 2 columns", said)
    reader.types("make debug", **warehouse)
    reader.types(".venv/bin/xcom get")
    assert (reader.project.path / "totals.parquet").read_bytes().startswith(b"PAR1")


@pytest.mark.installed
def test_the_examples_of_tests_pass(reader: Reader) -> None:
    files = [f"tests/test_{name}.py" for name in ("networks", "values", "store", "settings", "dags")]
    done = reader.project.uv("run", "--no-sync", "pytest", "-q", *files)
    assert not re.search(r"\d+ (failed|error)", done.stdout)


@pytest.mark.installed
def test_the_examples_are_clean(reader: Reader) -> None:
    reader.project.make("lint")


# -- a failure is told --------------------------------------------------------------------------------

DOOMED = '''"""Fails twice: a try, and one more."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task
from my_pipelines import alerts


@dag(
    schedule=None,
    default_args={"retries": 1, "retry_delay": timedelta(0), "on_failure_callback": alerts.on_failure},
)
def doomed():
    """Fails."""

    @task
    def fail() -> None:
        raise RuntimeError("the warehouse is shut\\nand so is the door")

    fail()


doomed()
'''


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """The address of a server, and what was posted to it: path and JSON."""
    posted: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()
        thread.join()


@pytest.mark.installed
def test_a_task_that_fails_for_good_tells_it_once(
    reader: Reader, webhook: tuple[str, list[tuple[str, Any]]]
) -> None:
    address, posted = webhook
    reader.writes("dags/doomed.py", DOOMED)
    connection = {"conn_type": "http", "host": f"{address}/services", "password": "T0/SECRET"}
    done = reader.project.make("run", "ONLY=doomed", AIRFLOW_CONN_ALERTS=json.dumps(connection), check=False)
    assert done.returncode != 0
    ((path, body),) = posted
    assert path == "/services/T0/SECRET"
    what, why, log = body["text"].splitlines()
    assert re.fullmatch(r"doomed\.fail failed in run \S+, try 2\.", what)
    assert why == "RuntimeError: the warehouse is shut"
    assert re.fullmatch(r"http\S+/dags/doomed/runs/\S+/tasks/fail\S*", log)
    log = reader.project.read(".airflow/logs/run/doomed.log")
    assert "T0/SECRET" not in f"{log}{done.stdout}{done.stderr}"
    # An address that is not there changes nothing but one line, which does not name it.
    url = {"AIRFLOW_CONN_ALERTS": "http://127.0.0.1:9/T0/SECRET"}
    assert reader.project.make("run", "ONLY=doomed", check=False, **url).returncode == done.returncode
    log = reader.project.read(".airflow/logs/run/doomed.log")
    assert "The alert could not be sent (URLError)." in log and "SECRET" not in log
    (reader.project.path / "dags" / "doomed.py").unlink()


@pytest.mark.installed
def test_a_platform_gets_just_what_was_tested(reader: Reader, tmp_path: Path) -> None:
    """pip, by itself and with hashes, in an environment that has nothing of the project."""
    project = reader.project
    project.make("requirements")
    hashes, pins = project.read("dist/requirements.txt"), project.read("dist/constraints.txt")
    assert re.findall(r"^[\w.-]+==\S+", hashes, re.MULTILINE) == re.findall(
        r"^[\w.-]+==\S+", pins, re.MULTILINE
    )
    assert "apache-airflow-providers-postgres==" in pins and "pytest==" not in pins and "--hash" not in pins
    (told,) = blocks(project.read("README.md").partition("make requirements\n")[2], "shell")
    project.uv("venv", "--quiet", str(tmp_path / "venv"))
    for line in told.splitlines():
        project.run("sh", "-c", f"uv {line}", VIRTUAL_ENV=str(tmp_path / "venv"))
    asked = "import my_pipelines.settings, exclusive_xcom.db, airflow.providers.postgres"
    project.run(tmp_path / "venv/bin/python", "-c", asked, AIRFLOW_HOME=str(tmp_path))


@pytest.mark.installed
def test_the_package_may_come_from_elsewhere(reader: Reader, tmp_path: Path) -> None:
    """As the package's README says: one wheel for all projects, and the folder is gone."""
    theirs = reader.project
    project = BakedProject(tmp_path / theirs.path.name, theirs.answers, theirs.machine)
    shutil.copytree(theirs.path, project.path, ignore=shutil.ignore_patterns(".venv", ".airflow", ".git"))
    project.uv("build", "--quiet", "--wheel", "packages/exclusive-xcom")
    (wheel,) = (project.path / "dist").glob("exclusive_xcom-*.whl")
    (source,) = blocks(project.read("packages/exclusive-xcom/README.md").replace("\n   ", "\n"), "toml")
    told = project.read("pyproject.toml")
    ours = re.search(r"^\[tool\.uv\.workspace\]\n.*?(?=^\[tool\.ruff\])", told, re.MULTILINE | re.DOTALL)
    assert ours
    source = re.sub(r'url = "https://[^"]+"', f"path = {json.dumps(str(wheel))}", source)
    write(project, "pyproject.toml", told.replace(ours.group(), f"{source}\n"))
    shutil.rmtree(project.path / "packages" / "exclusive-xcom")
    project.uv("sync", "--quiet")
    project.uv("run", "--no-sync", "python", "packages/verify.py")
    assert "row limit" in project.uv("run", "--no-sync", "xcom", "probe").stdout
