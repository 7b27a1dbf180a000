"""The pipeline of SQL: revenue of customers, and who brings most of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
from exclusive_xcom.testing.fixtures import Runner

SHOP = Path(__file__).resolve().parents[1] / "data" / "shop.db"


def table(name: str) -> list[tuple[Any, ...]]:
    """All rows of a table of the shop."""
    with closing(sqlite3.connect(SHOP)) as database:
        return database.execute(f"SELECT * FROM {name}").fetchall()


def revenue(since: str, states: set[str]) -> dict[str, float]:
    """Revenue by customer's name, summed up by Python."""
    names = {customer: name for customer, name, _ in table("customers")}
    found: dict[str, int] = defaultdict(int)
    for _, customer, day, _, quantity, price_cents, state in table("orders"):
        if day >= since and state in states:
            found[names[customer]] += quantity * price_cents
    return {name: cents / 100 for name, cents in found.items()}


def test_the_query_result_is_handed_over_as_a_frame_and_main_customers_are_found(run: Runner) -> None:
    done = run("orders")
    frame, expected = done.value("revenue"), revenue("2024-01-01", {"paid"})
    assert list(frame.columns) == ["name", "country", "orders", "revenue"]
    assert dict(zip(frame["name"], frame["revenue"], strict=True)) == expected
    assert frame["revenue"].is_monotonic_decreasing
    assert [row["name"] for row in done.table("revenue.csv")] == frame["name"].to_list()

    # They bring eighty percent, and not one more is needed.
    everything = sum(expected.values())
    main = [float(row["revenue"]) for row in done.table("main_customers.csv")]
    assert sum(main[:-1]) < 0.8 * everything <= sum(main)
    assert done.value("report") == {
        "customers": len(expected),
        "main customers": len(main),
        "revenue": round(everything, 2),
    }


def test_parameters_are_variables_rendered_when_the_task_runs(run: Runner) -> None:
    frame = run("orders", orders_since="2024-10-01", orders_include_open="true").value("revenue")
    expected = revenue("2024-10-01", {"paid", "open"})
    assert dict(zip(frame["name"], frame["revenue"], strict=True)) == expected
    assert expected != revenue("2024-10-01", {"paid"})


def test_the_database_is_where_the_connection_leads(run: Runner, tmp_path: Path) -> None:
    other = shutil.copy(SHOP, tmp_path)
    with closing(sqlite3.connect(other)) as database:
        database.execute("DELETE FROM customers WHERE customer_id <> 1")
        database.commit()
    done = run("orders", connections={"project_sqlite": {"conn_type": "sqlite", "host": str(other)}})
    assert len(done.value("revenue")) == 1


def test_main_customers_bring_eighty_percent(run: Runner) -> None:
    function = run.function("orders", "main_customers")  # the function below the task, called by itself
    frame = pd.DataFrame({"name": ["a", "b", "c"], "revenue": [70.0, 20.0, 10.0]})
    assert function(frame)["name"].to_list() == ["a", "b"]
