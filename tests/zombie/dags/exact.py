"""Pushes values at the edges of JSON and beyond, and pulls them in another task: is each the same?"""

# mypy: ignore-errors

from __future__ import annotations

import importlib
import math
import random
import string
from datetime import UTC, datetime
from decimal import Decimal
from importlib import metadata
from typing import Any

from airflow.sdk import dag, get_current_context, task
from drill import note

EDGES = [
    *[
        True,
        False,
        0,
        1,
        -1,
        2**31,
        2**53,
        2**53 + 1,
        2**63 - 1,
        -(2**63),
        2**63,
        -(2**63) - 1,
        2**64,
        10**40,
    ],
    *[
        0.0,
        -0.0,
        1.0,
        -1.5,
        0.1,
        1 / 3,
        100.0,
        1e-7,
        5e-324,
        2.2250738585072014e-308,
        1e15,
        123456789012345.6,
    ],
    *[9007199254740993.0, 9999999999999998.0, 1e16, 1.1e16, -1e16, 1e22, 1e23, 1e300, 1.7976931348623157e308],
    *[math.nan, math.inf, -math.inf],
    *[
        "",
        " ",
        "text",
        "größe",
        "数据",
        "😀",
        "\x00",
        "a\x00b",
        "\x01\x1f\x7f",
        "\u2028\u2029",
        "\\u0000",
        "\ud800",
    ],
    *['"', "\\", "</script>", "{{ ds }}", "e\u0301", "\ufeff", "\uffff", "true", "1", "null", "a" * 5000],
    *[[], {}, [[]], [{}], {"": {}}, [None], {"a": None}, [True, 1, 1.0], {"a": 1, "A": 2, " a": 3}],
    *[
        {"$xcom": "3"},
        {"$xcom": 1, "a": 2},
        [{"$xcom": "3"}],
        {"__type": "dict", "__var": {}},
        {"__classname__": "x"},
    ],
    *[
        {"__version__": 1},
        {"__data__": []},
        {"$t": "tuple", "v": []},
        {"\x00": 1},
        {"\ud800": 1},
        {"größe": 1},
    ],
    *[
        [1e16],
        {"a": -0.0},
        [[2**64]],
        {"a": {"b": [math.nan]}},
        {"a": ["\x00"]},
        [1e15, 1],
        {1: 2},
        {None: 1},
        {True: 1},
    ],
    *[(), (1,), [(1,)], {"a": (1, [2])}, {1, 2}, b"", b"\x00\xff", Decimal("1.10"), Decimal("NaN")],
    *[datetime(2026, 1, 2, 3, 4, 5, 6, UTC), datetime(2026, 1, 2), range(3), 1 + 2j],
]


def made_up(count: int) -> list[Any]:
    """Values of JSON's types, the same ones in every process."""
    chance = random.Random(20)

    def any_value(depth: int) -> Any:
        kind = chance.randrange(9 if depth else 7)
        if kind == 0:
            return chance.choice([None, True, False])
        if kind == 1:
            return chance.getrandbits(chance.choice([8, 31, 53, 63, 64, 70])) * chance.choice([1, -1])
        if kind in (2, 3):
            return chance.choice([1, -1]) * math.ldexp(chance.random(), chance.randrange(-1060, 1024))
        if kind == 4:
            return round(chance.uniform(-1e6, 1e6), chance.randrange(8))
        if kind in (5, 6):
            letters = [*string.printable, *"äß数😀\u2028\ufeff\x85\x00"]
            return "".join(chance.choices(letters, k=chance.randrange(12)))
        size = chance.randrange(5)
        if kind == 7:
            return [any_value(depth - 1) for _ in range(size)]
        return {"".join(chance.choices(string.printable, k=3)): any_value(depth - 1) for _ in range(size)}

    return [value for value in (any_value(3) for _ in range(count)) if value is not None]


VALUES = EDGES + made_up(200)


def same(one: Any, other: Any) -> bool:
    """Equal in value, type and every bit. The order of a dict's keys is not looked at: JSONB has its own."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return {repr(key) for key in one} == {repr(key) for key in other} and all(
            same(one[key], other[key]) for key in one
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@dag(schedule=None)
def exact() -> None:
    """Everything through a worker, the api-server and the database."""

    @task
    def push() -> None:
        context = get_current_context()
        ti = context["ti"]
        for number, value in enumerate(VALUES):
            ti.xcom_push(f"value {number}", value)
        note(context, "pushed by", metadata.version("apache-airflow"))

    @task
    def pull() -> None:
        from airflow.sdk.execution_time.xcom import XCom

        context = get_current_context()
        ti = context["ti"]
        plain = importlib.import_module("exclusive_xcom.codecs._json").plain
        is_reference = importlib.import_module("exclusive_xcom.reference").is_reference
        found = {"plain": 0, "enveloped": 0, "wrong": [], "kept wrongly": []}
        for number, value in enumerate(VALUES):
            pulled = ti.xcom_pull(task_ids="push", key=f"value {number}", map_indexes=-1)
            if not same(pulled, value):
                found["wrong"].append([ascii(value)[:200], ascii(pulled)[:200]])
            row = XCom._get_xcom_db_ref(
                key=f"value {number}", dag_id=ti.dag_id, run_id=ti.run_id, task_id="push", map_index=-1
            ).value
            found["plain" if plain(value) else "enveloped"] += 1
            if is_reference(row) == plain(value):
                found["kept wrongly"].append(ascii(value)[:200])
        note(context, "found", found | {"by": metadata.version("apache-airflow")})

    push() >> pull()


exact()
