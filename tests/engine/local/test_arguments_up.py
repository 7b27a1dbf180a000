"""Large arguments, and odd ones, in real workers: the DAG of test_arguments.py under the whole Airflow."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_project import Project, eventually

ROWS = "<list, 1,000 items>"
RUN = "/api/v2/dags/arguments/dagRuns"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Project]:
    """A project whose Airflow is up, on any free port."""
    made = Project(tmp_path / "project")
    shutil.copy(Path(__file__).parents[1] / "arguments.py", made.folder / "dags")
    # A task that is to run again at once is queued before the scheduler has heard of its end, and fails.
    done = made.xcom("up", "--port", "0", NOTES=str(tmp_path / "notes"), PAUSE="15")
    assert done.returncode == 0, done.stdout
    yield made
    made.xcom("down")


@pytest.mark.slow
def test_every_task_gets_the_values_themselves(up: Project) -> None:
    """And Airflow shows a line; callbacks see the values; what Airflow can't send does no harm."""
    url = f"http://127.0.0.1:{json.loads((up.home / 'up.json').read_text())['port']}"
    password = up.xcom("up").stdout.split("Password:")[1].split()[0]
    token = _ask(f"{url}/auth/token", {"username": "admin", "password": password})["access_token"]
    run = _ask(f"{url}{RUN}", {"logical_date": "2024-01-01T00:00:00Z", "dag_run_id": "once"}, token)
    assert run["state"] == "queued"
    over = ("success", "failed")
    assert eventually(lambda: _ask(f"{url}{RUN}/once", token=token)["state"] in over, 400)

    tasks = _ask(f"{url}{RUN}/once/taskInstances?limit=100", token=token)["task_instances"]
    assert {one["task_id"]: one["state"] for one in tasks if one["state"] != "success"} == {
        "sees": "failed",
        "not_chosen": "skipped",
        "takes_a_handle_elsewhere": "failed",
    }
    logs = "".join(path.read_text() for path in up.home.rglob("attempt=*.log"))
    shown = {(one["task_id"], one["map_index"]): one["rendered_fields"] for one in tasks}
    assert shown["takes_odd", -1]["op_args"] == ["<dict, 4 items>"]
    assert shown["of_kwargs", 1]["op_kwargs"] == {"number": 1, "rows": ROWS}
    assert shown["waits", -1]["rows"] == shown["classic_mapped", 0]["rows"] == ROWS
    assert shown["runs_elsewhere", -1]["op_args"] == [ROWS, "<dict, 4 items>"]
    notes = (up.folder.parent / "notes").read_text().splitlines()
    assert {"failure of sees: ['list']", "success of with_callbacks: ['list']"} <= set(notes)
    assert f"Returned {ROWS}" in logs
    assert "as Airflow itself does" not in logs


def _ask(url: str, body: dict[str, Any] | None = None, token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
