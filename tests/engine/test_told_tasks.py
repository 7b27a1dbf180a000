"""What whole tasks tell: Airflow's metrics over a real UDP socket, and assets to Airflow's lineage collector.

As test_tasks.py, this is run by test_backends.py with each backend.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import dag, get_current_context, task
from statsd_receiver import Metric, receiving

from exclusive_xcom import errors, lazy, lineage

pytestmark = pytest.mark.usefixtures("airflow")

BACKEND = os.environ.get("XCOM_TEST_BACKEND", "db")
WHERE = "row" if BACKEND == "db" else BACKEND
LARGE = b"x" * 5000
PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.lineage import HookLineageReader

class Reads(AirflowPlugin):
    name = "reads_lineage"
    hook_lineage_readers = [HookLineageReader]
"""


def ti() -> Any:
    """The running task instance."""
    return get_current_context()["ti"]


@dag(schedule=None)
def told() -> None:
    """A push and a pull of each sort, one that is refused, one that replaces another."""

    @task
    def pushes() -> Any:
        ti().xcom_push("again", LARGE)
        ti().xcom_push("again", LARGE)
        try:
            ti().xcom_push("refused", object())
        except errors.UnsupportedValue:
            ti().xcom_push("plain", "text")
        return lazy(LARGE)

    @task
    def pulls(value: Any) -> int:
        assert ti().xcom_pull(task_ids="pushes", key="plain") == "text"
        assert ti().xcom_pull(task_ids="pushes", key="again") == LARGE
        return len(value.load())

    @task
    def maps(number: int) -> bytes:
        return LARGE + bytes([number])

    @task
    def reduces(values: Any) -> int:
        return len(list(values))

    pulls(pushes())
    reduces(maps.expand(number=[1, 2, 3]))


DAG = told()


METRICS: list[Metric] = []
LINEAGE: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def run(bundle: Path) -> Iterator[None]:
    """Run it once, with a receiver of StatsD's lines and a plugin that reads lineage."""
    from airflow.sdk import lineage as airflow_lineage
    from airflow.sdk import plugins_manager

    plugin = Path(plugins_manager.settings.PLUGINS_FOLDER) / "reads.py"
    plugin.parent.mkdir(exist_ok=True)
    plugin.write_text(PLUGIN)
    shutil.copy(__file__, bundle / "told.py")
    caches = (
        plugins_manager._get_plugins,
        plugins_manager.get_hook_lineage_readers_plugins,
        airflow_lineage.get_hook_lineage_collector,
        lineage._collector,
    )
    for cache in caches:
        cache.cache_clear()
    with receiving() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__XCOM__INLINE_LIMIT", "100")
        found = DAG.test()
        states = {task.task_id: task.state for task in found.get_task_instances()}
        assert set(states.values()) == {"success"}, states
        METRICS.extend(receiver.of())
    collected = airflow_lineage.get_hook_lineage_collector().collected_assets
    LINEAGE.update(inputs=collected.inputs, outputs=collected.outputs)
    yield
    plugin.unlink()
    for cache in caches:
        cache.cache_clear()


def of(name: str) -> list[Metric]:
    """What was sent under a name."""
    return [metric for metric in METRICS if metric.name == name]


def test_each_push_and_pull_is_counted_and_timed() -> None:
    """Three keys and the value of one task, three indexes, two numbers; and what was pulled of these."""
    for direction, number in (("push", 4 + 1 + 3 + 1), ("pull", 3 + 1)):
        timed, sized = of(f"xcom.{direction}.duration"), of(f"xcom.{direction}.bytes")
        assert {metric.kind for metric in timed} == {"ms"} and {metric.kind for metric in sized} == {"c"}
        assert len(timed) == len(sized)
        assert len(timed) >= number
        assert all(metric.value >= 0 for metric in timed)
        assert {metric.tags["dag_id"] for metric in timed} == {"told"}
    large = [metric for metric in of("xcom.push.bytes") if metric.tags["kind"] == "bytes"]
    assert len(large) == 6
    assert {metric.tags["backend"] for metric in large} == {WHERE}
    assert {metric.value for metric in large} <= {float(n) for n in range(20, 5100)}


def test_plain_values_count_as_what_they_are() -> None:
    text = [metric for metric in of("xcom.push.bytes") if metric.tags["kind"] == "text"]
    assert [(metric.value, metric.tags["backend"]) for metric in text] == [(6, "row")]


def test_a_refusal_is_counted_once() -> None:
    (refused,) = of("xcom.refused")
    assert refused.tags == {"operation": "push", "error": "UnsupportedValue", "dag_id": "told"}
    assert not of("xcom.corrupt") and not of("xcom.missing") and not of("xcom.failed")


def test_what_another_push_replaced_is_purged() -> None:
    gone = Counter(metric.tags["backend"] for metric in of("xcom.purged"))
    assert gone == ({} if BACKEND == "db" else {WHERE: 1})


def test_payloads_in_an_object_store_are_assets() -> None:
    """Each under its URI, once, with whose it is; what was pulled is among what was pushed."""
    pushed = {info.asset.uri: info for info in LINEAGE["outputs"]}
    pulled = {info.asset.uri: info for info in LINEAGE["inputs"]}
    if BACKEND != "s3":
        assert not pushed and not pulled
        return
    assert len(pushed) == 6 and all(uri.startswith("s3://engine-tests/xcom/told/") for uri in pushed)
    assert len(pulled) == 5 and pulled.keys() < pushed.keys()
    assert {info.count for info in pushed.values()} == {1}
    extra = next(info.asset.extra for uri, info in pushed.items() if "/again/" in uri)
    assert extra["task_id"] == "pushes" and extra["key"] == "again" and extra["kind"] == "bytes"
    assert "x" * 20 not in str(LINEAGE)
