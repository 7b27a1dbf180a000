"""The fixtures for an owner's tests, in a small project: pytest runs there as its owner runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SETTINGS = {
    "db": "AIRFLOW__CORE__XCOM_BACKEND=exclusive_xcom.db.DbXComBackend\n",
    "redis": "AIRFLOW__CORE__XCOM_BACKEND=exclusive_xcom.redis.RedisXComBackend\n"
    "AIRFLOW__XCOM__CONN_ID=xcom_redis\nAIRFLOW__XCOM__PREFIX=small\n",
}

AIRFLOW_ENV = """
AIRFLOW_HOME=${PWD}/.airflow
AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///${PWD}/.airflow/airflow.db?timeout=30
AIRFLOW__CORE__DAGS_FOLDER=${PWD}/dags
AIRFLOW__CORE__LOAD_EXAMPLES=False
AIRFLOW_CONN_NOTES=sqlite://${PWD}/.airflow/notes.db
"""

DAGS = {
    "lengths": '''
        """Two tasks."""
        from airflow.sdk import dag, task
        from pydantic import Field

        from exclusive_xcom import lazy
        from exclusive_xcom.variables import Settings, output_file

        class Lengths(Settings, prefix="lengths_"):
            most: int = Field(3, ge=1)

        @dag(schedule=None)
        def lengths():
            @task
            def words():
                return lazy(["one", "three", "seven", "eleven"][: Lengths.read().most])

            @task
            def count(word):
                path = output_file(f"{word}.txt")
                path.write_text(word)
                return len(word)

            @task
            def write(words):
                output_file("all.csv").write_text("\\n".join(["word", *words.load()]) + "\\n")

            said = words()
            count.expand(word=["a", "bb"])
            write(said)

        lengths()
    ''',
    "team/greets": '''
        """A DAG in a folder, whose id is not its file's name, by a helper below dags/."""
        from airflow.sdk import BaseHook, dag, task
        from helpers.words import polite

        @dag("greets-all", schedule=None)
        def greets():
            @task
            def greet():
                shop = BaseHook.get_connection("shop")
                return polite(f"{shop.login}:{shop.password}@{shop.host}")

            greet()

        greets()
    ''',
    "helpers/words": '''
        """No DAG, for all that airflow reads here."""

        def polite(text):
            return f"dear {text}"
    ''',
    "twins": '''
        """Two DAGs from a factory."""
        from airflow.sdk import DAG, task

        def made(name):
            with DAG(f"twin_{name}", schedule=None) as dag:
                @task
                def hello():
                    return name
                hello()
            return dag

        for name in ("a", "b"):
            globals()[name] = made(name)
    ''',
    "stumbles": '''
        """A task that fails, and is tried again at once."""
        from datetime import timedelta
        from airflow.sdk import dag, task

        @dag(schedule=None, default_args={"retries": 1, "retry_delay": timedelta(hours=1)})
        def stumbles():
            @task
            def fall():
                raise RuntimeError("as it should")

            fall()

        stumbles()
    ''',
}

TESTS = '''
    import os
    import subprocess
    import sys
    from pathlib import Path

    import pytest
    from airflow.sdk import Connection
    from exclusive_xcom import Handle
    from exclusive_xcom.testing.store_contract import keep

    PROJECT = Path(__file__).parents[1]


    def airflow(*words):
        """Airflow's own command, in the tests' environment."""
        subprocess.run([sys.executable, "-m", "airflow", *words], check=True)


    def test_a_run_shows_what_was_handed_over_and_written(run):
        done = run("lengths")
        words = done.value("words")
        assert isinstance(words, Handle) and words.load() == ["one", "three", "seven"]
        assert [done.value("count", map_index=index) for index in range(2)] == [1, 2]
        assert done.states == dict.fromkeys(["words", "count[0]", "count[1]", "write"], "success")
        assert done.text("bb.txt") == "bb"
        assert done.table("all.csv") == [{"word": "one"}, {"word": "three"}, {"word": "seven"}]
        with pytest.raises(LookupError, match="no value.'words', 'x', -1.*value.'words', 'return"):
            done.value("words", key="x")


    def test_variables_are_of_one_run_alone_and_win_over_those_of_airflow(run):
        airflow("variables", "set", "lengths_most", "2")
        assert len(run("lengths").value("words").load()) == 2
        assert len(run("lengths", lengths_most=4).value("words").load()) == 4
        assert len(run("lengths").value("words").load()) == 2
        airflow("variables", "delete", "lengths_most")
        with pytest.raises(pytest.fail.Exception, match="came to the end failed: .*'words': 'failed'"):
            run("lengths", lengths_most=0)


    def test_a_run_may_be_meant_to_fail(run):
        assert run("stumbles", fails=True).states == {"fall": "failed"}
        with pytest.raises(pytest.fail.Exception, match="came to the end success"):
            run("lengths", fails=True)
        with pytest.raises(pytest.fail.Exception, match="no pipeline 'length' .* mean lengths"):
            run("length")


    def test_a_value_goes_through_the_backend_and_comes_back(round_trip):
        class Own:
            pass

        assert round_trip({1: (2, b"x" * 10_000)}) == {1: (2, b"x" * 10_000)}
        assert isinstance(round_trip(PROJECT / "dags" / "lengths.py"), Path)
        with pytest.raises(Exception, match="round_trip.push"):
            round_trip(Own())


    PREFIXES = []


    @pytest.mark.parametrize("number", range(2))
    def test_the_store_is_empty_and_each_test_s_own(store, number):
        ref = keep(store, [b"value"])
        assert bytes(store.fetch(ref)) == b"value"
        PREFIXES.append(os.environ["AIRFLOW__XCOM__PREFIX"])
        assert len(set(PREFIXES)) == len(PREFIXES)


    @pytest.mark.parametrize("name", ["greets-all", "greets", "team/greets", "dags/team/greets.py"])
    def test_a_pipeline_is_known_by_its_id_and_by_its_file(run, name):
        done = run(name, connections={"shop": "http://me:secret@shop.example.org"})
        assert done.value("greet") == "dear me:secret@shop.example.org"


    def test_a_connection_is_of_one_run_alone_and_may_be_a_dict_or_airflow_s_own(run):
        fields = {"conn_type": "http", "host": "shop", "login": "me", "password": "p@ss/w:rd"}
        for shop in (fields | {"extra": {"timeout": 3}}, Connection(conn_id="shop", **fields)):
            assert run("greets", connections={"shop": shop}).value("greet") == "dear me:p@ss/w:rd@shop"
        assert run("greets", fails=True).states == {"greet": "failed"}


    def test_a_variable_may_have_the_name_of_an_argument(run):
        done = run("lengths", variables={"day": 1, "lengths_most": 1})
        assert done.value("words").load() == ["one"]


    def test_what_is_not_one_pipeline_is_said(run):
        with pytest.raises(pytest.fail.Exception, match="'twins' has several DAGs: twin_a, twin_b"):
            run("twins")
        assert run("twin_b").value("hello") == "b"


    def test_the_function_of_a_task_is_called_by_itself(run):
        assert run.function("lengths", "count")("abc") == 3
        assert (run.output / "abc.txt").read_text() == "abc"
        with pytest.raises(pytest.fail.Exception, match="no task 'counts'. There are: words, count, write"):
            run.function("lengths", "counts")


    def test_the_project_s_own_airflow_is_not_touched(airflow):
        assert not (PROJECT / ".airflow").exists()
        assert Path(os.environ["AIRFLOW_HOME"]).is_dir()
        assert os.environ["AIRFLOW_HOME"] in os.environ["AIRFLOW_CONN_NOTES"]
        assert "AIRFLOW_CONN_OF_PRODUCTION" not in os.environ
'''


def small_project(folder: Path, backend: str = "db", conftest: str = "") -> Path:
    """A project with two pipelines and tests of what its fixtures do."""
    files = {
        "pyproject.toml": "[tool.pytest.ini_options]\ntestpaths = ['tests']\n",
        "config/airflow.env": AIRFLOW_ENV + SETTINGS[backend],
        ".env": "AIRFLOW_CONN_OF_PRODUCTION=redis://real.example.org\n",
        "tests/conftest.py": f'{conftest}\npytest_plugins = ["exclusive_xcom.testing.fixtures"]\n',
        "tests/test_all.py": outdented(TESTS),
    } | {f"dags/{name}.py": outdented(text) for name, text in DAGS.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def outdented(text: str) -> str:
    """A file inside of this one: without its indentation."""
    (indentation,) = re.findall(r"\A\n( +)", text)
    return re.sub(rf"^{indentation}", "", text, flags=re.MULTILINE).strip() + "\n"


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest as a person runs it there; temporary folders are below the folder's neighbour `tmp`."""
    temporary = folder.with_name("tmp")
    temporary.mkdir()
    foreign = ("AIRFLOW", "PYTEST")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("backend", ["db", pytest.param("redis", marks=pytest.mark.slow)])
def test_a_project_s_tests_have_an_airflow_of_their_own(tmp_path: Path, backend: str) -> None:
    project = small_project(tmp_path / "a project", backend)
    done = pytest_in(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 15 passed" in done.stdout
    assert not list((tmp_path / "tmp").glob("airflow-tests-*"))


def test_an_airflow_that_was_imported_too_early_is_noticed_before_it_is_used(tmp_path: Path) -> None:
    project = small_project(tmp_path / "project", conftest="import airflow.sdk")
    done = pytest_in(project)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "Airflow was imported before it was told" in done.stderr


def test_a_folder_without_settings_is_no_project(tmp_path: Path) -> None:
    project = small_project(tmp_path / "project")
    (project / "config" / "airflow.env").unlink()
    done = pytest_in(project)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"There is no config/airflow.env in {project}" in done.stderr
