"""Errors as people are told of them: the last line of their own project, whatever stands around it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from exclusive_xcom.local import traces

HELPER = "def half(number):\n    return number / 0\n"
FILES = {
    "syntax": ("x = 1\ndef broken(:\n", "SyntaxError: invalid syntax", "line 2: def broken(:"),
    "missing": ("import nothing_at_all\n", "ModuleNotFoundError: No module named", "line 1: import nothing"),
    "library": ("import json\n\njson.loads('{')\n", "JSONDecodeError: Expecting", "line 3: json.loads('{')"),
    "exits": ("import sys\nsys.exit('no')\n", "SystemExit: no", "line 2: sys.exit('no')"),
    "chain": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ValueError('a\\nb') from e\n",
        "ValueError: a\nb",
        "line 4: raise ValueError",
    ),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def raised(path: Path, text: str) -> BaseException:
    """What a file with that text raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    try:
        exec(compile(text, path, "exec"), {})
    except BaseException as error:
        return error
    raise AssertionError(f"{path} raises nothing")


@pytest.mark.parametrize("name", FILES)
def test_of_a_printed_traceback_the_message_and_the_last_line_of_the_project(here: Path, name: str) -> None:
    text, message, where = FILES[name]
    error = raised(here / f"dags/{name}.py", text)
    said = traces.in_short_of_text("".join(traceback.format_exception(error)))
    assert message in said.rpartition("\n")[0]
    assert f"in dags/{name}.py, {where}" in said.splitlines()[-1]


def test_a_text_without_a_line_is_told_as_it_is() -> None:
    assert traces.in_short_of_text("DagCycle: a, b, a\n") == "DagCycle: a, b, a"
    assert traces.in_short_of_text("") == "no reason given"


def test_a_connection_that_is_missing_is_told_with_the_line_to_write(here: Path) -> None:
    said = traces.in_short(LookupError("The conn_id `warehouse` isn't defined"))
    assert said.splitlines()[1].startswith("Write this line into connections.env: AIRFLOW_CONN_WAREHOUSE='{")


def test_what_was_installed_is_not_the_projects(here: Path) -> None:
    for folder in (".venv/lib/x", "packages/exclusive-xcom", "elsewhere/site-packages"):
        assert (
            traces.in_short(raised(here / folder / "m.py", "1 / 0\n"))
            == "ZeroDivisionError: division by zero"
        )
    assert "in src/mine/m.py, line 1" in traces.in_short(raised(here / "src/mine/m.py", "1 / 0\n"))


def test_a_traceback_begins_at_the_projects_first_line(here: Path) -> None:
    def called(number: int, call: Callable[[], object]) -> object:
        return called(number - 1, call) if number else call()

    error = raised(here / "dags/good.py", "import json\njson.loads('{')\n")
    said = traces.printed(error).splitlines()
    assert "dags/good.py" in said[1] and said[-1].startswith("json.decoder.JSONDecodeError")
    assert "test_traces" not in "".join(said)

    with pytest.raises(json.JSONDecodeError) as foreign:
        called(20, lambda: json.loads("{"))
    assert traces.printed(foreign.value).count("  File ") == traces.MOST
