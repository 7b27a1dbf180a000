"""What is told of pushes, pulls, deletions, refusals and collections: fields of log lines, and metrics."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow_versions import row_of
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from statsd_receiver import Receiver, receiving
from upkeep_model import GRACE, ModelAirflow, ModelStore, new_id

from exclusive_xcom import Handle, errors, lazy, metrics
from exclusive_xcom.address import Address
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import XComError
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.transfer import refused, told
from exclusive_xcom.upkeep import marker
from exclusive_xcom.upkeep.collect import Collection
from exclusive_xcom.upkeep.manifest import Manifest

WHOSE: dict[str, Any] = {"dag_id": "orders", "run_id": "run 1", "task_id": "load", "map_index": -1}
LARGE = b"secret" * 1000


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """See `receiving`."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of the S3 backend, a folder."""
    monkeypatch.setenv("AIRFLOW__XCOM__URL", (tmp_path / "store").as_uri())
    return tmp_path / "store"


def push(value: Any, backend: Any = S3XComBackend) -> Any:
    return json.loads(json.dumps(row_of(backend, "value", value, **WHOSE)))


def pull(row: Any, backend: Any = S3XComBackend) -> Any:
    return backend.deserialize_value(SimpleNamespace(value=row))


def names(receiver: Receiver) -> list[str]:
    return [metric.name for metric in receiver.of()]


# -- metrics ------------------------------------------------------------------------------------------


def test_what_is_sent_has_a_name_that_is_known(receiver: Receiver, folder: Path) -> None:
    assert pull(push(LARGE)) == LARGE
    transferred = [f"xcom.{way}.{what}" for way in ("push", "pull") for what in ("bytes", "duration")]
    assert names(receiver) == transferred
    assert receiver.of("xcom.push.bytes")[0].tags == {"backend": "file", "kind": "bytes", "dag_id": "orders"}


@pytest.mark.parametrize(
    ("damage", "error", "counter"),
    [
        (lambda path: path.unlink(), errors.PayloadMissing, "xcom.missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), errors.PayloadTruncated, "xcom.corrupt"),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), errors.PayloadAltered, "xcom.corrupt"),
    ],
)
@pytest.mark.parametrize("is_lazy", [False, True])
def test_what_is_wrong_in_the_store_is_counted_once(
    receiver: Receiver, folder: Path, damage: Any, error: type[XComError], counter: str, is_lazy: bool
) -> None:
    row = push(lazy(LARGE) if is_lazy else LARGE)
    damage(Path(urlsplit(row["uri"]).path))
    with pytest.raises(error):
        found = pull(row)
        assert isinstance(found, Handle)
        found.load()
    assert names(receiver)[2:] == [counter]
    assert receiver.of(counter)[0].tags == {"operation": "pull", "error": error.__name__, "dag_id": "orders"}


def test_a_row_that_was_changed_is_corrupt(receiver: Receiver, folder: Path) -> None:
    row = push(LARGE) | {"length": "many"}
    with pytest.raises(errors.BadReference):
        pull(row)
    assert names(receiver)[2:] == ["xcom.corrupt"]


def test_a_batch_that_lacks_one_is_told_once(receiver: Receiver, folder: Path) -> None:
    from exclusive_xcom.binding import Question

    rows = [
        json.loads(json.dumps(row_of(S3XComBackend, "value", LARGE, **{**WHOSE, "map_index": index})))
        for index in range(3)
    ]
    Path(urlsplit(rows[1]["uri"]).path).unlink()
    of = Address("orders", "run 1", "load", -1, "value")
    with pytest.raises(errors.PayloadMissing):
        S3XComBackend._answer(Question(of, any_index=True), rows)
    assert names(receiver).count("xcom.missing") == 1


@pytest.mark.parametrize(
    ("error", "counter"),
    [
        (errors.StoreUnreachable("x"), "xcom.failed"),
        (errors.NoSpace("x"), "xcom.failed"),
        (errors.CannotConfirmTry("x"), "xcom.failed"),
        (errors.Superseded("x"), "xcom.refused"),
        (errors.StaleXCom("x"), "xcom.refused"),
        (errors.ValueTooLarge("x"), "xcom.refused"),
        (errors.PayloadExpired("x"), "xcom.missing"),
        (errors.PayloadUnreadable("x"), "xcom.corrupt"),
        (errors.MisplacedReference("x"), "xcom.corrupt"),
    ],
)
def test_each_error_has_its_counter(receiver: Receiver, error: XComError, counter: str) -> None:
    for _ in range(2):
        with pytest.raises(type(error)), told():
            raise error
        refused("push", error)
    assert [(metric.name, metric.tags) for metric in receiver.of()] == [
        (counter, {"operation": "push", "error": type(error).__name__})
    ]


def test_deletions_are_counted_and_what_is_left_behind(receiver: Receiver, folder: Path) -> None:
    from exclusive_xcom import garbage
    from exclusive_xcom.reference import parse

    garbage.discard(parse(push(LARGE)))
    assert names(receiver)[2:] == ["xcom.purged"]
    garbage.discard(parse(push(LARGE) | {"uri": "nowhere:x"}))
    assert names(receiver)[5:] == ["xcom.corrupt"]


def test_a_collection_tells_how_much_it_deleted(receiver: Receiver, tmp_path: Path) -> None:
    store, airflow = ModelStore(), ModelAirflow()
    marker.adopt(store, airflow)
    airflow.runs["orders", "run 1"] = "success"
    for _ in range(3):
        store.put(Address("orders", "run 1", "load"), new_id())
    store.time = 10 * GRACE
    collection = Collection(store, airflow, GRACE)
    with Manifest(tmp_path / "list") as manifest:
        collection.look(manifest)
        assert names(receiver) == []
        size = collection.delete(manifest).garbage.bytes
    counted = {metric.name: (metric.value, metric.tags) for metric in receiver.of()}
    assert counted == {
        "xcom.collected": (3, {"backend": "s3"}),
        "xcom.collected.bytes": (size, {"backend": "s3"}),
    }


COMMAND = """
from exclusive_xcom import airflow_compat, metrics
airflow_compat.start_stats()
metrics.count("xcom.collected", 7, backend="s3")
"""


def test_a_command_sends_what_a_task_sends(receiver: Receiver) -> None:
    subprocess.run([sys.executable, "-c", COMMAND], timeout=120, check=True)
    assert [(metric.name, metric.value) for metric in receiver.of()] == [("xcom.collected", 7)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("pandas DataFrame", "pandas_DataFrame"),
        ("a,b=c:d|e f", "a_b_c_d_e_f"),
        ("text, list", "several"),
        ("größe", "größe"),
    ],
)
def test_tags_are_words(text: str, word: str) -> None:
    assert metrics._word(text) == word


def test_metrics_that_do_not_work_fail_no_push(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    def broken() -> Any:
        raise RuntimeError("no such client")

    metrics._complain.cache_clear()
    stats.initialize(factory=broken, export_legacy_names=False)
    try:
        assert pull(push(LARGE)) == LARGE
    finally:
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    assert caplog.text.count("Airflow's metrics do not work") == 1
    assert "RuntimeError: no such client" in caplog.text


OPEN_TELEMETRY = """
import sys
sys.path[:0] = sys.argv[1:]
from types import SimpleNamespace
from airflow_versions import row_of
from exclusive_xcom.db import DbXComBackend
from exclusive_xcom import airflow_compat
from opentelemetry import metrics
airflow_compat.start_stats()
whose = dict(dag_id="orders", run_id="run 1", task_id="load", map_index=-1)
row = row_of(DbXComBackend, "value", (1, 2), **whose)
DbXComBackend.deserialize_value(SimpleNamespace(value=row))
metrics.get_meter_provider().force_flush()
"""


def test_open_telemetry_has_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real server takes what Airflow's own exporter sends."""
    found: dict[str, Any] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    found.update({metric.name: metric for metric in scope.metrics})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        command = [sys.executable, "-c", OPEN_TELEMETRY, str(Path(__file__).parent)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert found.keys() >= {
        f"airflow.xcom.{way}.{of}" for way in ("push", "pull") for of in ("bytes", "duration")
    }
    (pushed,) = found["airflow.xcom.push.duration"].exponential_histogram.data_points
    assert pushed.count == 1
    tags = {tag.key: tag.value.string_value for tag in pushed.attributes}
    assert tags == {"backend": "row", "kind": "tuple", "dag_id": "orders"}


# -- lines --------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from types import SimpleNamespace
from airflow.sdk.log import configure_logging
configure_logging(json_output=True, output=sys.stdout.buffer)
sys.path[:0] = sys.argv[1:]
from structlog.contextvars import bind_contextvars
from airflow_versions import row_of
from exclusive_xcom.s3 import S3XComBackend
from exclusive_xcom.reference import parse
from exclusive_xcom import garbage
whose = dict(dag_id="orders", run_id="run 1", task_id="load", map_index=-1)
row = row_of(S3XComBackend, "value", b"secret" * 1000, **whose)
S3XComBackend.deserialize_value(SimpleNamespace(value=row))
garbage.discard(parse(row))
try:
    S3XComBackend.deserialize_value(SimpleNamespace(value=row))
except Exception:
    pass
"""


def test_a_line_has_fields_where_the_log_is_json(folder: Path) -> None:
    """By Airflow's own set-up of logging, as in a worker's task."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "secretsecret" not in done.stdout
    lines = [json.loads(line) for line in done.stdout.splitlines() if "exclusive_xcom" in line]
    pushed, pulled, purged, missing = [line["xcom"] for line in lines]
    assert [one["operation"] for one in (pushed, pulled, purged, missing)] == [
        "push",
        "pull",
        "purge",
        "pull",
    ]
    whose = {"dag_id": "orders", "run_id": "run 1", "task_id": "load", "map_index": -1, "key": "value"}
    for one in (pushed, pulled, purged, missing):
        assert one.items() >= whose.items()
    for one in (pushed, pulled):
        assert one["duration_ms"] > 0
    for one in (pushed, pulled, purged):
        assert (one["kind"], one["backend"], one["bytes"]) == ("bytes", "file", pushed["bytes"])
        assert one["uri"].startswith(folder.as_uri())
    assert missing["error"] == "PayloadMissing"
    assert lines[0]["event"].startswith("XCom pushed 'value' of orders.load")


def test_a_plain_value_has_them_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    push("secret", DbXComBackend)
    (record,) = caplog.records
    assert "secret" not in record.getMessage()
