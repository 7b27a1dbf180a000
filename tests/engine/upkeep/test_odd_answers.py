"""Answers of an Airflow, or of what stands in its place, that are not about what was asked: each stops."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from exclusive_xcom.address import Address
from exclusive_xcom.errors import StoreMisconfigured
from exclusive_xcom.inspection import NotThere
from exclusive_xcom.upkeep import airflow_rest
from exclusive_xcom.upkeep.airflow_rest import Airflow, CannotAskAirflow, can_be_asked
from exclusive_xcom.upkeep.asked_rows import AskedRows

AT = Address("orders", "run 1", "extract")
SECRET = "s3cr3t-pass"
Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Answers as it is told, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[str, str], Any] = lambda method, path: (404, {"detail": "Not Found"})
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def airflow(self) -> Airflow:
        """Who asks it."""
        return Airflow(self.url, password=SECRET)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path))
        status, said, *headers = self.server.answer(self.command, self.path)
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, text in headers:
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on a free port."""
    monkeypatch.setattr(airflow_rest, "_PAUSES", ())
    with Server() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def entry(address: Address = AT, **more: Any) -> dict[str, Any]:
    """What Airflow says of an XCom."""
    of = {"dag_id": address.dag_id, "run_id": address.run_id, "task_id": address.task_id, "key": address.key}
    return of | {"map_index": address.map_index, "timestamp": "2026-01-01T00:00:00Z", "value": 1} | more


def without(found: dict[str, Any], name: str) -> dict[str, Any]:
    """All but one."""
    return {key: value for key, value in found.items() if key != name}


MAPPED = Address("orders", "run 1", "extract", 5)
NESTED = b"[" * 200_000


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        (AT, (200, without(entry(), "value"))),
        (MAPPED, (200, entry())),  # a proxy that drops the query
        (MAPPED, (200, entry(Address("orders", "run 1", "extract", 4)))),
        (AT, (200, entry(Address("others", "run 1", "extract")))),
        (AT, (200, b"<html>Sign in</html>", ("Content-Type", "text/html"))),
        (AT, (200, NESTED)),
        (AT, (200, b"")),
        (AT, (200, [entry()])),
        (AT, (404, {"detail": "Not Found"})),
        (AT, (404, {"detail": "XCom entry with key: `other` not found"})),
        (AT, (404, b"")),
        (AT, (404, NESTED)),
        *((AT, (status, {"detail": "?"})) for status in (204, 302, 401, 403, 410, 422, 429, 500, 503)),
    ],
    ids=str,
)
def test_of_a_row_only_what_is_about_it_counts(server: Server, address: Address, answer: Any) -> None:
    server.answer = lambda method, path: answer
    with pytest.raises(CannotAskAirflow) as caught:
        server.airflow.row(address)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "said", [{"dag_id": "orders", "dag_run_id": "run 1"}, {"state": "success"}, {}, None, NESTED], ids=str
)
def test_of_a_run_as_well(server: Server, said: Any) -> None:
    server.answer = lambda method, path: (200, said)
    with pytest.raises(CannotAskAirflow):
        server.airflow.run_state("orders", "run 1")


@pytest.mark.parametrize("said", [b"<html>", NESTED, {}, [], {"version": "new"}, {"version": None}], ids=str)
def test_of_the_version_as_well(server: Server, said: Any) -> None:
    server.answer = lambda method, path: (200, said)
    with pytest.raises(CannotAskAirflow):
        _ = server.airflow.rows_per_try


def test_a_redirection_gets_neither_token_nor_password(server: Server) -> None:
    with Server() as other:
        threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
        server.answer = lambda method, path: (307, b"", ("Location", f"{other.url}{path}"))
        with pytest.raises(CannotAskAirflow, match="answered 307"):
            server.airflow.row(AT)
        with pytest.raises(CannotAskAirflow, match="no token"):
            Airflow(server.url, "user", SECRET).row(AT)
        other.shutdown()
    assert not other.asked


@pytest.mark.parametrize("host", ["user:s3cr3t-pass@airflow", "http://airflow", "airflow/path", "airflow?x"])
def test_a_host_that_may_hold_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    told = json.dumps({"conn_type": "http", "host": host})
    monkeypatch.setenv("AIRFLOW_CONN_XCOM_API", told)
    with pytest.raises(StoreMisconfigured) as caught:
        Airflow.configured()
    assert host not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        Address("orders", "run 1", "extract", -1, "a\n"),  # to Airflow's router it is "a"
        Address("orders", "run 1", "extract", -1, "a\nb"),
        Address("orders", "run\0", "extract"),
        Address("orders", "run \ud800", "extract"),
        Address("orders", "run 1", "extract", -2),
        Address("orders", "run 1", "extract", 2**31),
        Address("orders", "..", "extract"),
        Address("orders", "run/1", "extract"),
        Address("orders", "run 1", "extract", -1, "a/../b"),
    ],
    ids=repr,
)
def test_what_airflow_cant_be_asked_for_stops_nothing(address: Address) -> None:
    assert not can_be_asked(address)


def listing(*entries: Any) -> Callable[[str, str], Any]:
    """An Airflow with these XComs. As the real one it takes "~" for any."""

    def answer(method: str, path: str) -> Any:
        parts, query = urlsplit(path).path.split("/"), parse_qs(urlsplit(path).query)
        dag, run, task, last = (unquote(parts[at]) for at in (4, 6, 8, 9))
        found = [
            each
            for each in entries
            if dag in ("~", each["dag_id"])
            and run in ("~", each["run_id"])
            and task in ("~", each["task_id"])
        ]
        if last == "xcomEntries" and len(parts) == 10:
            offset = int(query["offset"][0])
            return 200, {"xcom_entries": found[offset:], "total_entries": len(found)}
        return 200, found[0]

    return answer


@pytest.mark.parametrize("task", ["~", "extract"])
def test_a_wave_is_no_wildcard(server: Server, task: str) -> None:
    """It would show the value of another task, or of another project's DAG."""
    server.answer = listing(
        entry(Address("others", "run 1", "load")), entry(Address("orders", "run 1", "load"))
    )
    rows = AskedRows(server.airflow)
    rows._what_there_is = lambda *of: "nothing"  # type: ignore[method-assign]
    for dag in ("~", "orders"):
        with pytest.raises(NotThere):
            rows.find(dag, task, "return_value", None, None)


@pytest.mark.parametrize(
    "listed",
    [[1], [{}], [entry(map_index="1")], [without(entry(), "key")], [entry(dag_id=None)], "text", {"a": 1}],
    ids=str,
)
def test_a_list_of_something_else_is_told(server: Server, listed: Any) -> None:
    server.answer = lambda method, path: (200, {"xcom_entries": listed, "total_entries": 1})
    with pytest.raises(CannotAskAirflow):
        list(AskedRows(server.airflow)._listed("orders", "run 1"))


def test_a_list_that_never_ends_is_told(server: Server) -> None:
    server.answer = lambda method, path: (200, {"xcom_entries": [entry()]})
    with pytest.raises(CannotAskAirflow):
        list(AskedRows(server.airflow)._listed("orders", "run 1"))
