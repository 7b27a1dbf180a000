"""What every DAG file is held to in a project, and which tests belong to one pipeline: pytest runs there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_fixtures import outdented, pytest_in, small_project

TEST_DAGS = """
from exclusive_xcom.testing.dag_rules import DagRules

class TestDags(DagRules):
    pass
"""

TEXTBOOK = """
    import pandas
    from datetime import datetime
    from airflow.sdk import DAG, task

    with DAG("one", start_date=datetime(2024, 1, 1), catchup=True) as dag:
        @task
        def hello():
            return "world"
        hello()

    with DAG("two") as other:
        hello()
"""

# A file, and what is said of it.
WRONG = {
    "broken.py": ("import airflow.sdk.dag_that_is_none", 'broken.py", line 1, in <module>'),
    "reads.py": (
        "from helpers.rates import rate\nfrom airflow.sdk import DAG\nRATE = rate()",
        "Variable rate in dags/helpers/rates.py, line 4",
    ),
    "asks.py": (
        "from airflow.sdk import BaseHook, dag\nSHOP = BaseHook.get_connection('shop')",
        "connection shop in dags/asks.py, line 2",
    ),
    "old.py": ("from airflow.decorators import dag\n", "airflow.decorators"),
    "again.py": ("from airflow.sdk import DAG\nwith DAG('one') as again: pass", "Ignoring DAG one from"),
}
RATES = """
from airflow.sdk import Variable

def rate(): return Variable.get("rate", default=None)
"""


def project_with(folder: Path, files: dict[str, str], rules: str = "") -> Path:
    """A small project with these files in dags/ alone."""
    project = small_project(folder / "project")
    for path in [*(project / "dags").rglob("*.py"), *(project / "tests").glob("test_*.py")]:
        path.unlink()
    for name, text in files.items():
        path = project / "dags" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (project / "tests" / "test_dags.py").write_text(TEST_DAGS, encoding="utf-8")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"[tool.exclusive-xcom]\nrules = [{rules}]\n")
    return project


def failures(said: str) -> dict[str, list[str]]:
    """The tests that failed, by the file that they are about."""
    found: dict[str, list[str]] = {}
    for test, file in re.findall(r"^FAILED .*::(\w+)\[(.*?)\]", said, re.MULTILINE):
        found.setdefault(file, []).append(test)
    return found


def test_textbook_files_pass_and_what_airflow_ignores_is_not_looked_at(tmp_path: Path) -> None:
    files = {
        "finance/report.py": outdented(TEXTBOOK),
        "helpers/words.py": "def polite(text): return text\n",
        "drafts/wild.py": "from airflow.sdk import dag\n1 / 0\n",
        ".airflowignore": "drafts/\n",
    }
    done = pytest_in(project_with(tmp_path, files))
    assert done.returncode == 0, done.stdout
    assert " 4 passed" in done.stdout


@pytest.mark.slow
def test_what_is_wrong_for_sure_is_found_with_its_line(tmp_path: Path) -> None:
    files = {name: text for name, (text, _) in WRONG.items()}
    files |= {"helpers/rates.py": RATES, "one.py": outdented(TEXTBOOK)}
    done = pytest_in(project_with(tmp_path, files))
    for name, (_, said) in WRONG.items():
        assert said in done.stdout, (name, done.stdout)
    importing, reading = "test_airflow_can_import_it", "test_nothing_is_read_while_it_is_imported"
    assert failures(done.stdout) == {
        "broken.py": [importing],
        "asks.py": [importing, reading],  # there is no such connection
        "old.py": ["test_the_next_airflow_has_what_it_uses"],
        "one.py": [importing],  # Airflow blames the second one that it comes to
        "reads.py": [reading],
    }


RULES = {
    "owner": "the task one.hello has no owner",
    "tags": "the DAG one has no tags",
    "docs": "the DAG two has neither a docstring nor doc_md",
    "one-dag-per-file": "it has the DAGs one, two, and not the one report",
    "retries": "the task two.hello is not tried again",
    "no-catchup": "the DAG one catches up",
    "light-imports": "it imports numpy, pandas",
}


def test_every_rule_that_is_named_finds_what_it_is_for(tmp_path: Path) -> None:
    names = ", ".join(f'"{name}"' for name in RULES)
    done = pytest_in(project_with(tmp_path, {"finance/report.py": outdented(TEXTBOOK)}, names))
    assert failures(done.stdout) == {"finance/report.py": ["test_it_keeps_the_rules_of_the_project"]}
    for name, said in RULES.items():
        assert re.search(rf"- {re.escape(said)}.*\(rule '{name}'\)", done.stdout), (name, done.stdout)


@pytest.mark.slow
def test_a_rule_that_there_is_not_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    done = pytest_in(project_with(tmp_path, {"report.py": outdented(TEXTBOOK)}, '"owners"'))
    assert done.returncode != 0
    assert "names the rule 'owners'. There are: owner, tags, docs, one-dag-per-file, retries" in done.stdout


@pytest.mark.parametrize(
    ("only", "ran"),
    [
        ("report", {"test_dags.py[finance/report.py]", "test_report.py"}),
        ("finance/report", {"test_dags.py[finance/report.py]", "test_report.py"}),
        ("dags/finance/report.py", {"test_dags.py[finance/report.py]", "test_report.py"}),
        ("two", {"test_dags.py[finance/report.py]", "test_report.py"}),  # the id of a DAG
        ("other sums", {"test_dags.py[other.py]", "test_sums.py"}),
        ("tests/more", {"more/test_sums.py"}),
    ],
)
@pytest.mark.slow
def test_only_what_belongs_to_a_name_runs(tmp_path: Path, only: str, ran: set[str]) -> None:
    files = {"finance/report.py": outdented(TEXTBOOK), "other.py": "from airflow.sdk import DAG\nDAG('x')\n"}
    project = project_with(tmp_path, files)
    (project / "tests" / "more").mkdir()
    for name in ("test_report.py", "more/test_sums.py"):
        (project / "tests" / name).write_text("def test_it():\n    pass\n", encoding="utf-8")
    done = pytest_in(project, f"--only={only}", "--collect-only", "-q")
    found = re.findall(r"^tests/(?:more/)?(\S+?\.py)::\S*?(\[.*\])?$", done.stdout, re.MULTILINE)
    assert {"".join(item) for item in found} == {name.removeprefix("more/") for name in ran}


def test_a_name_that_nothing_has_is_said(tmp_path: Path) -> None:
    done = pytest_in(project_with(tmp_path, {"report.py": outdented(TEXTBOOK)}), "--only=raport")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    said = "No test and no DAG is called 'raport'. Did you mean report? There are: dags, report."
    assert f"ERROR: {said}" in done.stderr
