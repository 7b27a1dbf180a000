"""`make switch` changes any answer, to just what a new project with that answer would be, and keeps edits."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from projects import CHOICES, BakedProject
from updates import FIRST, PLAN, Render, copy_of, edit, link, switch, tree, update

pytestmark = pytest.mark.update


def walk(choices: list[str]) -> list[str]:
    """Choices in an order in which each follows each other one once, round and round: an Eulerian circuit."""
    left = {choice: [other for other in choices if other != choice] for choice in choices}
    trail, found = [choices[0]], []
    while trail:
        if left[trail[-1]]:
            trail.append(left[trail[-1]].pop())
        else:
            found.append(trail.pop())
    return found[::-1]


WALKS = {name: walk(choices) for name, choices in CHOICES.items()}
LONGEST = max(len(steps) - 1 for steps in WALKS.values())


def step(number: int) -> dict[str, str]:
    """All answers after so many switches."""
    return {name: steps[number % (len(steps) - 1)] for name, steps in WALKS.items()}


def test_every_pair_of_every_question_is_walked() -> None:
    for name, choices in CHOICES.items():
        walked = {(step(number)[name], step(number + 1)[name]) for number in range(LONGEST)}
        assert walked == set(itertools.permutations(choices, 2)), name


@pytest.mark.slow
def test_a_switch_of_any_answer_gives_what_a_new_project_would_be(render: Render) -> None:
    """One project goes through every pair of every question, all at once, and has a person's work in it."""
    project = render(FIRST, **step(0))
    project.commit("As generated")
    own = {"dags/mine.py": b'"""Mine."""\n', ".airflow/airflow.db": b"rows"}
    for name, content in own.items():
        (project.path / name).parent.mkdir(exist_ok=True)
        (project.path / name).write_bytes(content)
    edit(project.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
    edit(project.path, "config/airflow.env", "CORE__LOAD_EXAMPLES=False", "CORE__LOAD_EXAMPLES=True")
    project.commit("My own work")
    for number in range(LONGEST):
        wanted = step(number + 1)
        switch(project, "--", *(f"{name}={answer}" for name, answer in wanted.items()))
        fresh = render(FIRST, **wanted)
        edit(fresh.path, "handbook/plan.txt", PLAN[30], "31. Mine\n")
        edit(fresh.path, "config/airflow.env", "CORE__LOAD_EXAMPLES=False", "CORE__LOAD_EXAMPLES=True")
        found = tree(project.path)
        assert {name: found.pop(name) for name in own} == own
        assert found == tree(fresh.path), (step(number), wanted)
        project.commit(f"Switched to {wanted}")
    assert link(project)["checkout"] == FIRST, "a switch is not an update"


@pytest.mark.parametrize(
    "word",
    [
        "CI=gitlab",
        "PYTHON=3.12",
        "LICENSE=MIT",
        "BACKEND=s3",
        "EXAMPLES=one",
        "EXAMPLES=none",
        "EXECUTOR=CeleryExecutor",
        "EXECUTOR=KubernetesExecutor",
    ],
)
def test_one_answer_alone(word: str, project: BakedProject, render: Render) -> None:
    name, _, answer = word.partition("=")
    question = {"BACKEND": "xcom_backend", "PYTHON": "python_version"}.get(name, name.lower())
    switch(project, "--", word)
    assert tree(project.path) == tree(render(FIRST, **{question: answer}).path)
    context = json.loads(project.read(".cruft.json"))["context"]["cookiecutter"]
    assert context[question] == answer
    project.commit("Switched")
    assert f"{name} is {answer} already. Nothing to do." in switch(project, "--", word)


def test_a_file_of_the_former_answer_that_was_edited_is_told(project: BakedProject, tmp_path: Path) -> None:
    workflow = ".github/workflows/ci.yml"
    with (project.path / workflow).open("a", encoding="utf-8") as file:
        file.write("# Mine\n")
    project.commit("My own job")
    again = copy_of(project, tmp_path / "again" / project.path.name)
    assert f"    {workflow}\n" in switch(project, "--", "CI=gitlab", code=2).partition("Left behind")[2]
    assert (project.path / ".gitlab-ci.yml").is_file()
    assert "# Mine" in project.read(workflow)
    assert "LICENSE  (new)" in switch(again, "--", "LICENSE=MIT", "PYTHON=3.13")


def test_examples_that_were_removed_come_back_when_they_are_asked_for(
    project: BakedProject, render: Render
) -> None:
    switch(project, "--", "EXAMPLES=none")
    project.commit("None")
    switch(project, "--", "EXAMPLES=all")
    assert tree(project.path) == tree(render(FIRST).path)
    project.commit("All")
    update(project)
