"""Values come back exactly through a real worker, api-server and database, above all from PostgreSQL's JSONB.

JSONB keeps numbers and objects of its own kind. Plain values are in it as they are, so they have to be those
that it gives back unchanged; all others are in an envelope, as text.
"""

from __future__ import annotations

import json

import pytest
from airflows import Airflow

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("airflow", ["db", "db on PostgreSQL"], indirect=True)
def test_every_value_comes_back_exactly(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> None:
    """And stays in the row as it is if, and only if, it is plain."""
    folder = tmp_path_factory.mktemp("notes")
    airflow.run("exact", "once", {"folder": str(folder)}).succeeded()
    found = json.loads((folder / "found").read_text("utf-8"))
    assert found["wrong"] == []
    assert found["kept wrongly"] == []
    assert min(found["plain"], found["enveloped"]) > 50
