"""The plugin for mypy: TaskFlow is no error, and what is wrong is still found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

RIGHT = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import dag, setup, task, task_group, teardown
from exclusive_xcom import Handle, lazy


@dag
def right():
    @task
    def load() -> list[int]:
        return [1]

    @task(multiple_outputs=True)
    def parts() -> dict[str, int]:
        return {"a": 1}

    @task
    def total(numbers: list[int], factor: int = 1) -> int:
        return sum(numbers) * factor

    @task.branch
    def choose(numbers: list[int]) -> str:
        return "total"

    @task.bash(env={"a": "b"})
    def command(numbers: list[int]) -> str:
        return "true"

    @task.sensor(poke_interval=60)
    def wait(numbers: list[int]) -> bool:
        return True

    @task(task_id="other", retries=3)
    def opens(handle: Handle, names: dict[str, list[int]]):
        return lazy(handle.load())

    @task
    def filled(ti, number: int, ds=None, **context) -> int:
        return number

    @setup
    @task
    def create():
        pass

    @teardown
    @task
    def drop(number: int):
        pass

    @task_group
    def both(numbers: list[int]):
        return total(numbers)

    @task_group(group_id="alone")
    def alone(numbers: list[int]):
        total(numbers)

    total(load())
    total(numbers=load(), factor=parts()["a"])
    total([1, parts()["a"]])
    total([1, 2])
    total(list(range(3)))
    total.override(task_id="x", retries=1)(load())
    total.partial(factor=2).expand(numbers=[load(), [1]])
    mapped = total.expand(numbers=load().map(lambda number: [number]))
    total(total.expand_kwargs(load()))
    choose(load())
    command(load())
    wait(load())
    opens(load(), {"a": load(), "b": [1, parts()["a"]]})
    filled(number=filled(number=3))
    total(both(load()))
    total(both.override(group_id="x")(load()))
    both.expand(numbers=load())
    alone(load()) >> create() >> load() >> drop(parts()["a"])
    bash = BashOperator(task_id="bash", bash_command=choose(load()), env={"a": choose(load())})
    total(bash.output)
    total(bash.output["x"])
    PythonOperator(task_id="print", python_callable=print, op_args=[load()], op_kwargs={"a": load()})
    load() >> [bash, mapped]
    [load(), bash] >> mapped


right()
"""

# Each line is wrong, and mypy says why.
WRONG = {
    "total(3)": '"int"; expected "list[int] | XComArg"',
    "total()": "Too few arguments",
    'total(load(), colour="red")': 'Unexpected keyword argument "colour"',
    'total("x", factor=load())': '"str"; expected "list[int] | XComArg"',
    "total({1})": '"set[int]"; expected',
    'total.override(task_id="x")({1})': '"set[int]"; expected',
    "total.partial(factor=2).expand(numbers=7)": '"int"; expected',
    'total.function("x")': '"str"; expected "list[int]"',
    'group("x")': '"str"; expected "list[int] | XComArg"',
    "filled()": "Too few arguments",
    "len(load())": 'incompatible type "PlainXComArg"; expected "Sized"',
    "load() + 1": "Unsupported operand types",
    "load().append(1)": 'no attribute "append"',
    'BashOperator(task_id="x", bash_command=3)': '"int"; expected',
}

BODIES = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import task, task_group


@task
def load() -> list[int]:
    return "three"  # Incompatible return value type


@task
def total(numbers: list[int], factor: int = 1):
    return numbers.lenght  # no attribute "lenght"


@task
def filled(ti, number: int):
    pass


@task_group
def group(numbers: list[int]):
    total(numbers)
    total(7)  # expected "list[int] | XComArg"


"""

SETTINGS = """
[mypy]
plugins = exclusive_xcom.mypy_plugin
check_untyped_defs = True
"""


def errors(folder: Path, text: str) -> dict[int, str]:
    """What mypy says, by line."""
    (folder / "mypy.ini").write_text(SETTINGS, encoding="utf-8")
    (folder / "file.py").write_text(text, encoding="utf-8")
    options = ["--config-file", str(folder / "mypy.ini"), "--cache-dir", str(folder / "cache")]
    said, crashed, _ = api.run([*options, "--no-error-summary", str(folder / "file.py")])
    assert not crashed
    return {
        int(line): what for line, what in re.findall(r"^.*file\.py:(\d+): error: (.*)$", said, re.MULTILINE)
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with mypy's cache, which two runs share."""
    return tmp_path_factory.mktemp("mypy")


def test_taskflow_is_no_error(folder: Path) -> None:
    found = errors(folder, RIGHT)
    assert {RIGHT.splitlines()[line - 1]: what for line, what in found.items()} == {}


def test_what_is_wrong_is_found(folder: Path) -> None:
    lines = BODIES.splitlines() + list(WRONG)
    expected = {number: line.partition("  # ")[2] for number, line in enumerate(lines, 1) if "  # " in line}
    expected |= {lines.index(line) + 1: what for line, what in WRONG.items()}
    found = errors(folder, "\n".join(lines) + "\n")
    missed = {
        lines[line - 1]: found.get(line) for line, what in expected.items() if what not in found.get(line, "")
    }
    assert missed == {}
    assert found.keys() == expected.keys()
