"""What first_pipeline hands over and writes."""

from __future__ import annotations

from exclusive_xcom.testing.fixtures import Runner


def test_rows_are_handed_over_and_written(run: Runner) -> None:
    done = run("first_pipeline", first_pipeline_rows=2)
    assert done.value("make") == [{"number": 1, "square": 1}, {"number": 2, "square": 4}]
    assert done.table("squares.csv") == [{"number": "1", "square": "1"}, {"number": "2", "square": "4"}]
