"""What `xcom run` prints of pushes and pulls."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from exclusive_xcom.address import Address
from exclusive_xcom.local import report
from exclusive_xcom.local.runner import PipelineEnd, TaskEnd
from exclusive_xcom.transfer import Transfer


def transfer(direction: str = "push", **changes: Any) -> Transfer:
    """A push of a frame, or something that differs from it."""
    address: dict[str, Any] = {
        "dag_id": "sales",
        "run_id": "r",
        "task_id": "load",
        "map_index": -1,
        "key": "return_value",
    }
    fields: dict[str, Any] = {
        "kind": "pandas DataFrame",
        "summary": "1,000 rows × 4 columns",
        "length": 2500,
        "where": "s3://bucket/xcom/sales/r/load/-1/return_value/a-very-long-name.arrow",
        "seconds": 0.01,
    }
    whose = {name: changes.pop(name, value) for name, value in address.items()}
    return Transfer(direction, Address(**whose), **fields | changes)


def printed(width: int, *events: Transfer) -> str:
    """The table for a window of that width."""
    out = io.StringIO()
    report.handed_over(Console(file=out, width=width, highlight=False), report.gather(events))
    return out.getvalue()


def test_the_pulls_of_all_consumers_count_for_the_push() -> None:
    (entry,) = report.gather([transfer(), transfer("pull", seconds=0.2), transfer("pull", seconds=0.4)])
    assert [pull.seconds for pull in entry.pulls] == [0.2, 0.4]
    assert "2 × 300.0 ms" in printed(160, *entry.pushes.values(), *entry.pulls)


def test_map_indexes_are_one_line_with_the_sum_of_their_sizes() -> None:
    text = printed(160, *(transfer(map_index=index) for index in range(8)))
    assert "load ×8" in text and "20.0 kB" in text and "sales" in text


def test_of_map_indexes_that_are_alike_the_shape_is_told() -> None:
    assert "1,000 rows" in printed(160, *(transfer(map_index=index) for index in range(8)))
    other = transfer(map_index=9, summary="2 rows × 4 columns")
    assert "rows" not in printed(160, *(transfer(map_index=index) for index in range(8)), other)


def test_of_a_task_that_was_tried_twice_the_last_push_counts() -> None:
    (entry,) = report.gather([transfer(length=1), transfer(length=2)])
    assert entry.cells()[0] == "load" and entry.cells()[3] == "2 B"


def test_a_pull_of_what_an_earlier_run_pushed_is_no_line() -> None:
    assert report.gather([transfer("pull")]) == []


WHERE = "s3://bucket/xcom/sales/r/load/-1/return_value/a-very-long-name.arrow"
FOLDER = "s3://bucket/xcom/"


@pytest.mark.parametrize("width", [40, *range(80, 201, 3), 200, 300])
def test_no_column_is_lost_and_no_address_broken_in_any_window(width: int) -> None:
    other = transfer(dag_id="taxes", task_id="t[0]", where="s3://bucket/xcom/taxes/r/x.arrow")
    text = printed(width, transfer(), transfer("pull"), other, transfer(key="small", where="row"))
    lines = text.splitlines()
    wide = [line for line in lines if len(line) > width]
    assert all(re.fullmatch(r"s3: s3://\S+(  \(whole addresses: .*)?", line) for line in wide), wide
    flat = "".join(text.split())
    for part in ("sales", "load", "small", "pandasDataFrame", "2.5kB", "10.0ms", "t[0]"):
        assert part in flat
    named = re.findall(r"s3://\S+", text)
    assert set(named) in ({WHERE, other.where}, {FOLDER})
    if lines[0].startswith(("pipeline", "task")):
        assert lines[0].split()[-1] == "pull" and "-" in {line[-1:] for line in lines}
    assert ("return_value" in flat.split("s3:")[0]) == lines[0].startswith("pipeline")


def test_with_less_room_a_pipeline_stands_above_its_tasks() -> None:
    title, name, first, second = printed(90, transfer(where="row"), transfer(key="small", where="row"))[
        :-1
    ].split("\n")
    assert title.startswith("task") and name.strip() == "sales"
    assert first.startswith("  load        pandas DataFrame, 1,000 rows × 4 columns  2.5 kB  row")
    assert second.startswith("  load small  pandas")


def test_where_there_is_room_the_table_has_whole_addresses() -> None:
    assert printed(300, transfer()).count(WHERE) == 1
    assert printed(160, transfer()).splitlines()[0].startswith("pipeline")
    assert "show PIPELINE" not in printed(100, transfer(where="row"))


def test_what_redis_keys_have_in_common_ends_before_the_brace() -> None:
    keys = [f"redis:demo/{{sales/r/load/-1}}/{key}/{key}-id" for key in ("a", "b")]
    text = printed(100, *(transfer(key=key, where=key) for key in keys))
    assert text.splitlines()[-1].startswith("redis: redis:demo/  (whole")


def test_a_narrow_window_has_two_lines_for_each_xcom_below_the_name_of_its_pipeline() -> None:
    lines = printed(60, transfer(where="row"), transfer(key="small", where="row", summary="")).splitlines()
    assert lines[0] == "sales" and len(lines) == 5
    assert lines[3:] == ["  load small  pandas DataFrame, 2.5 kB", "    row, push 10.0 ms, pull -"]


def test_failures_that_are_alike_are_told_once() -> None:
    out = io.StringIO()
    tasks = [TaskEnd("sales", "load", index, "failed", 0.1, "ValueError: [no] money") for index in (2, 0)]
    ends = [PipelineEnd("sales", "failed", 1.0, "/logs/sales.log", not_run=["report"])]
    report.failures(Console(file=out, width=80), tasks, ends)
    text = out.getvalue()
    assert text.count("ValueError: [no] money") == 1 and "sales.load[0, 2]" in text
    assert "report" in text and "/logs/sales.log" in text


def test_what_would_steer_the_terminal_is_shown_as_it_is_written() -> None:
    assert "f \\x1b[31m.txt" in printed(160, transfer(summary="f \x1b[31m.txt"))
    out = io.StringIO()
    report.broken(Console(file=out, width=160), {"dags/a.py": "ValueError: \x1b[2J[bold]no[/]"})
    assert "ValueError: \\x1b[2J[bold]no[/]" in out.getvalue()
