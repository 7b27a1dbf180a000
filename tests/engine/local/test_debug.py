"""`xcom debug` as a person uses it: in a terminal, with Python's debugger."""

from __future__ import annotations

import pytest
from small_project import BACKENDS, Project, eventually

LOOKS = """
from airflow.sdk import dag, task, task_group

@dag(schedule=None)
def looks():
    @task
    def load():
        print("I load")
        return [1, 2]

    @task(retries=3)
    def double(number):
        twice = 2 * number
        if number == 2:
            breakpoint()
        return twice

    @task_group
    def inner(numbers):
        return double.expand(number=numbers)

    @task(retries=3)
    def total(numbers):
        found = sorted(numbers)
        raise ValueError(f"no total of {found}")

    @task
    def aside():
        return [f"item {number}" for number in range(10_000)]

    numbers = load()
    total(inner(numbers))
    numbers >> aside()

looks()
"""
PROMPT = "(Pdb) "


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one pipeline."""
    made = Project(tmp_path_factory.mktemp("debug") / "my project")
    made.pipelines(looks=LOOKS)
    return made


def test_one_task_stops_at_its_breakpoint_and_goes_on(project: Project) -> None:
    answers = [(PROMPT, "p 'twice is', twice"), (PROMPT, "c")]
    done = project.xcom_in_terminal(answers, "debug", "looks", "--task", "inner.double", **BACKENDS["redis"])
    assert done.returncode == 0, done.stdout
    assert "the store for development" in done.stdout, "the store that the backend needs"
    assert "I load" in done.stdout and "('twice is', 4)" in done.stdout
    assert "looks: success" in done.stdout
    assert "looks.total" not in done.stdout and "looks.aside" not in done.stdout
    assert eventually(lambda: project.processes() == [])  # the store is the last to go


def test_the_debugger_opens_where_a_task_fails(project: Project) -> None:
    answers = [(PROMPT, "c"), (PROMPT, "p 'found', found"), (PROMPT, "c")]
    done = project.xcom_in_terminal(answers, "debug", "dags/looks.py", "--post-mortem")
    assert done.returncode == 1
    assert "('found', [2, 4])" in done.stdout and "looks.aside" in done.stdout
    assert done.stdout.count("ValueError: no total of [2, 4]") == 1, "once, and not for each try"
    assert "<list, 10,000 items>" in done.stdout and "item 9" not in done.stdout, "it floods no terminal"
    assert "task_runner.py" not in done.stdout, "what is Airflow's of a traceback is left out"


def test_who_quits_ends_it(project: Project) -> None:
    done = project.xcom_in_terminal([(PROMPT, "q"), (PROMPT, "y")], "debug", "looks")
    assert done.returncode == 130, done.stdout
    assert "Interrupted." in done.stdout and "looks.total" not in done.stdout


def test_refuses_a_task_that_there_is_not(project: Project) -> None:
    done = project.xcom("debug", "looks", "--task", "double")
    assert done.returncode == 2
    said = (
        "no task 'double' in looks. Did you mean inner.double? There are: load, inner.double, total, aside."
    )
    assert said in done.stdout
