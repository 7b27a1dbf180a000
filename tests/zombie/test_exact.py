"""Values come back exactly through a real worker, api-server and database, above all from PostgreSQL's JSONB.

JSONB keeps numbers and objects of its own kind. Plain values are in it as they are, so they have to be those
that it gives back unchanged; all others are in an envelope, as text.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest
from airflows import Airflow
from projects import AIRFLOW

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("airflow", ["db", "db on PostgreSQL"], indirect=True)
def test_every_value_comes_back_exactly(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """And stays in the row as it is if, and only if, it is plain."""
    come_back(airflow, tmp_path_factory.mktemp("notes"), "once")


@pytest.mark.skipif(not AIRFLOW, reason="`make airflow-next-test` has an Airflow that is newer than ours")
@pytest.mark.parametrize(
    "airflow", [f"older worker{on}" for on in ("", " on s3", " on redis")], indirect=True
)
@pytest.mark.parametrize("newer", ["push", "pull"])
def test_also_between_workers_of_two_airflows(
    airflow: Airflow, tmp_path_factory: pytest.TempPathFactory, newer: str
) -> None:
    """While a deployment is updated: one has pushed, and the other pulls."""
    by = come_back(airflow, tmp_path_factory.mktemp("notes"), f"newer-{newer}")
    assert by.pop(newer) == AIRFLOW
    assert set(by.values()) == {metadata.version("apache-airflow")}


def come_back(airflow: Airflow, folder: Path, run_id: str) -> dict[str, str]:
    """Run it; the version of Airflow that ran each task."""
    airflow.run("exact", run_id, {"folder": str(folder)}).succeeded(timeout=600)
    found = json.loads((folder / "found").read_text("utf-8"))
    assert found["wrong"] == []
    if not airflow.name.endswith(("s3", "redis")):  # they keep few in rows, or none
        assert found["kept wrongly"] == []
    assert min(found["plain"], found["enveloped"]) > 50
    return {"push": json.loads((folder / "pushed by").read_text("utf-8")), "pull": found["by"]}
