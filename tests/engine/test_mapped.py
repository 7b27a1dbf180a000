"""Tasks that are mapped over one large list: each gets its item as it is, and fetches that alone.

As test_tasks.py, this is run by test_backends.py, with the backends whose values may be that large.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
from airflow.sdk import dag, get_current_context, task, task_group

from exclusive_xcom.testing.identical import identical
from exclusive_xcom.transfer import Transfer

pytestmark = pytest.mark.usefixtures("airflow")

MANY = 6
SIZE = 300_000


def parts(*, tagged: bool = False) -> list[dict[str, Any]]:
    """A list of large dicts that hardly become smaller."""
    rng = random.Random(1)
    found: list[dict[str, Any]] = [
        {"number": number, "text": rng.randbytes(SIZE // 2).hex()} for number in range(MANY)
    ]
    return [part | {"at": (dt.date(2026, 1, 2), part["number"])} for part in found] if tagged else found


def binaries() -> list[bytes]:
    """What is no text."""
    rng = random.Random(2)
    return [rng.randbytes(SIZE) for _ in range(MANY)]


def frames() -> list[Any]:
    """What other codecs carry."""
    return [{"frame": pd.DataFrame({"a": np.frombuffer(data)}), "of": len(data)} for data in binaries()]


def same(value: Any, expected: Any) -> Any:
    """Refuse anything else."""
    assert identical(value, expected)
    return value


def numbered() -> int:
    """The map index of the task that runs."""
    return int(get_current_context()["ti"].map_index)


@dag(schedule=None)
def mapped() -> None:
    """Every way in which a list is mapped over, and two in which it is not."""

    @task
    def plain() -> Any:
        return parts()

    @task
    def tagged() -> Any:
        return parts(tagged=True)

    @task
    def binary() -> Any:
        return binaries()

    @task
    def framed() -> Any:
        return frames()

    @task
    def takes_binary(part: Any) -> None:
        same(part, binaries()[numbered()])

    @task
    def takes_frame(part: Any) -> None:
        same(part, frames()[numbered()])

    @task
    def takes(part: Any, more: str = "") -> int:
        same(part, parts()[numbered()])
        return int(part["number"])

    @task
    def takes_tagged(part: Any) -> None:
        same(part, parts(tagged=True)[numbered()])

    @task
    def takes_as_keywords(number: int, text: str) -> None:
        same({"number": number, "text": text}, parts()[numbered()])

    @task
    def takes_length(length: int) -> None:
        same(length, len(parts()[numbered()]["text"]))

    @task
    def takes_both(both: Any) -> None:
        same(both, (parts()[numbered()], parts(tagged=True)[numbered()]))

    @task
    def takes_one_of_all(part: Any) -> None:
        same(part, [*parts(), *parts(tagged=True)][numbered()])

    @task
    def takes_pair(letter: str, part: Any) -> None:
        same(part, parts()[numbered() % MANY])

    @task
    def takes_whole(whole: Any) -> None:
        same(whole, parts())

    @task
    def pulls(part: Any) -> None:
        same(get_current_context()["ti"].xcom_pull(task_ids="plain"), parts())

    @task_group
    def group(part: Any) -> None:
        takes.override(task_id="in_group")(part)

    these, those = plain(), tagged()
    takes_whole(these)
    takes.partial(more="x").expand(part=these)
    takes_tagged.expand(part=those)
    takes_binary.expand(part=binary())
    takes_frame.expand(part=framed())
    takes_as_keywords.expand_kwargs(these)
    takes_length.expand(length=these.map(lambda part: len(part["text"])))
    takes_both.expand(both=these.zip(those))
    takes_one_of_all.expand(part=these.concat(those))
    takes_pair.expand(letter=["a", "b"], part=these)
    group.expand(part=these)
    pulls.expand(part=these)


DAG = mapped()  # where a DagBag finds it, too


class Pulls(logging.Handler):
    """Keeps what is logged of each pull."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[Transfer] = []

    def emit(self, record: logging.LogRecord) -> None:
        """One of them."""
        transfer = getattr(record, "xcom", None)
        if transfer is not None and transfer.direction == "pull":
            self.done.append(transfer)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The finished run, and what was pulled in it."""
    # `dag.test()` wants to find the DAG in a bundle: in a copy of this file.
    folder = tmp_path_factory.mktemp("dags")
    shutil.copy(__file__, folder)
    bundle = {
        "name": "tests",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    pulls, log = Pulls(), logging.getLogger("exclusive_xcom.transfer")
    log.addHandler(pulls)
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
            return DAG.test(), pulls.done
    finally:
        log.removeHandler(pulls)


def test_each_task_gets_what_it_would_get_of_the_whole_list(run: Any) -> None:
    states = {(one.task_id, one.map_index): str(one.state) for one in run[0].get_task_instances()}
    assert set(states.values()) == {"success"}, states


def test_mapped_tasks_fetch_their_item_alone(run: Any) -> None:
    items = [pull for pull in run[1] if pull.summary.startswith("item ")]
    # takes, takes_tagged, _as_keywords, _length, _one_of_all (of two lists), in_group, pulls; _both and _pair
    # and beside these _binary, _frame
    assert len(items) == (5 + 2 + 1 + 2 + 2 + 2) * MANY
    assert max(pull.length for pull in items) < 1.1 * SIZE
    assert {pull.what for pull in items} == {f"list, item {n + 1} of {MANY}" for n in range(MANY)}


def test_whoever_wants_the_list_gets_all_of_it(run: Any) -> None:
    whole = [pull for pull in run[1] if pull.summary == f"{MANY} items"]
    assert len(whole) == 1 + MANY  # takes_whole, and each of `pulls` in its own code
