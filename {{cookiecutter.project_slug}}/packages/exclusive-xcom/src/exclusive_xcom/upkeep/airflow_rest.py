"""What Airflow says of runs and XComs by its public REST API: there, not there, or no clear answer.

An answer counts as "not there" only in Airflow's own words for just what was asked: a proxy, a wrong address
and a missing right have other ones. What is not clear is an error, and whoever asked has to stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from .. import config
from ..address import Address
from ..connections import connection
from ..errors import StoreMisconfigured, XComError

STORE_ID = "exclusive_xcom_store_id"  # the Variable
ENDED_WELL = "success"
ENDED = frozenset({ENDED_WELL, "failed"})  # states of a run in which no try is current
_PAUSES = (0.5, 3.0)  # seconds before a question that got no clear answer is asked again
_EXAMPLE = "http://user:password@airflow.example.com:8080"
_IN_A_PROJECT = "In a project, `make up` brings it along. For another Airflow, write"
_RIGHTS = (
    "The user of the connection needs to read DAG runs, XComs and the Variable of every DAG: without that "
    "nothing can be told apart from what is gone."
)
_LARGEST_INDEX = 2**31 - 1  # of a mapped task: a database's integer
_PAGE = 100  # entries of a list, of which Airflow gives no more at once


class CannotAskAirflow(XComError):
    """Airflow did not say clearly whether there is a run or an XCom, so nothing was deleted for it."""


class Airflow:
    """An Airflow, asked over HTTP.

    Args:
        url: of its api-server, up to but without "/api/v2".
        user, password: to get a token; a password without a user is a token.
        pace: called before each request; may wait.
    """

    def __init__(
        self, url: str, user: str = "", password: str = "", pace: Callable[[], None] = lambda: None
    ) -> None:
        self.url, self._user, self._password, self._pace = url.rstrip("/"), user, password, pace
        self._client = httpx.Client(timeout=30, follow_redirects=False)
        self._token = "" if user else password
        self._rows_per_try: bool | None = None
        self.requests = 0

    @classmethod
    def configured(cls, pace: Callable[[], None] = lambda: None) -> Airflow:
        """That of the connection AIRFLOW__XCOM__API_CONN_ID. Raises `BadOption` or `StoreMisconfigured`."""
        found = connection(config.API_CONN_ID.read(), _EXAMPLE, config.API_CONN_ID.variable, _IN_A_PROJECT)
        scheme = "https" if "https" in (found.conn_type, found.schema) else "http"
        port = f":{found.port}" if found.port else ""
        path = str(found.extra_dejson.get("path", "")).strip("/")
        url = f"{scheme}://{found.host}{port}/{path}"
        if not found.host or set(found.host) & set("/@?#") or "@" in path:  # shown, and may hold a password
            raise StoreMisconfigured(
                f"The host of the connection in {config.API_CONN_ID.variable} is no plain name",
                f"Write the connection as a URI: {_EXAMPLE}.",
            )
        return cls(url, found.login or "", found.password or "", pace)

    @property
    def rows_per_try(self) -> bool:
        """Whether it keeps the rows of each try apart (3.4). Raises `CannotAskAirflow`."""
        if self._rows_per_try is None:
            said = _json(self._asked("/version", "its version"))
            try:
                major, minor, *_ = str(said["version"]).split(".")
                self._rows_per_try = (int(major), int(minor)) >= (3, 4)
            except (KeyError, TypeError, ValueError) as error:
                raise self._unclear("its version", f"it answered {str(said)[:80]!r}") from error
        return self._rows_per_try

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """A run's state; None if there is no such run. Raises `CannotAskAirflow`."""
        what = f"run {run_id} of {dag_id}"
        gone = f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"
        path = f"/dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"
        said = self._found(path, what, gone, {"dag_id": dag_id, "dag_run_id": run_id}, "state")
        return None if said is None else str(said["state"])

    def row(self, address: Address) -> tuple[Any] | None:
        """What stands in an XCom's row, for the try that counts; None if there is no such row. Raises
        `CannotAskAirflow`."""
        gone = f"XCom entry with key: `{address.key}` not found"
        asked: dict[str, Any] = {"dag_id": address.dag_id, "run_id": address.run_id}
        asked |= {"task_id": address.task_id, "key": address.key}
        if address.map_index >= 0:  # of a loop's turn 3.4 may tell another one than it is asked for by
            asked["map_index"] = address.map_index
        said = self._found(
            _row_path(address),
            f"XCom {address}",
            gone,
            asked,
            "value",
            {"map_index": address.map_index, "deserialize": "false"},
        )
        return None if said is None else (said["value"],)

    def store_id(self) -> str | None:
        """The id of the store that belongs to this Airflow; None if none does. Raises `CannotAskAirflow`."""
        gone = f"The Variable with key: `{STORE_ID}` was not found"
        said = self._found(f"/variables/{STORE_ID}", f"Variable {STORE_ID}", gone, {"key": STORE_ID}, "value")
        return None if said is None else str(said["value"])

    def set_store_id(self, text: str) -> None:
        """Make the Variable. Raises `CannotAskAirflow`, also if there is one already."""
        about = "Names this Airflow's store of XComs. `xcom gc` deletes nothing in a store of another name."
        body = {"key": STORE_ID, "value": text, "description": about}
        self._asked("/variables", f"Variable {STORE_ID}", json=body, method="POST", good=(201,))

    def pages(
        self, path: Sequence[str], name: str, shape: Mapping[str, type], **query: Any
    ) -> Iterator[dict[str, Any]]:
        """What is listed below a path, page by page; all of it, or `limit`. Nothing if Airflow does not know
        the path. A part "~" is any. Each has these entries of these types. Raises `CannotAskAirflow`."""
        where = "/" + "/".join(part if part == "~" else _part(part) for part in path)
        most, given, before = query.pop("limit", None), 0, None
        while True:
            step = {**query, "limit": min(most or _PAGE, _PAGE), "offset": given}
            answer = self._asked(where, f"a list of {name}", good=(200, 404), params=step)
            said = _json(answer)
            listed = said.get(name) if isinstance(said, dict) else None
            if answer.status_code == 404 and isinstance(said, dict) and "detail" in said:
                return
            if answer.status_code == 404 or not isinstance(listed, list):
                raise self._unclear(f"a list of {name}", "it answered something else", _ADDRESS)
            if listed and (listed == before or not all(_has(each, shape) for each in listed)):
                raise self._unclear(f"a list of {name}", "it answered something else", _ADDRESS)
            yield from listed
            before = listed
            given += len(listed)
            total = most or (None if said.get("total_entries_limit") else said.get("total_entries"))
            if not listed or (isinstance(total, int) and given >= total):
                return

    def delete_row(self, address: Address) -> bool:
        """Delete an XCom's row; whether there was one. Raises `CannotAskAirflow`."""
        answer = self._asked(
            _row_path(address),
            f"XCom {address}",
            method="DELETE",
            good=(204, 404),
            params={"map_index": address.map_index},
        )
        gone = f"The XCom with key: `{address.key}` with mentioned task instance doesn't exist."
        if answer.status_code == 404 and (_json(answer) or {}).get("detail") != gone:
            raise self._unclear(
                f"XCom {address}", "it answered 404, but not that this is not there", _ADDRESS
            )
        return answer.status_code == 204

    # -- requests -----------------------------------------------------------------------------------

    def _found(
        self,
        path: str,
        what: str,
        gone: str,
        asked: Mapping[str, Any],
        wanted: str,
        query: Mapping[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """A thing that was asked for, if the answer is about it and has what is wanted of it; None if it is
        not there."""
        answer = self._asked(path, what, good=(200, 404), params=dict(query or {}))
        said = _json(answer)
        if answer.status_code == 404:
            if isinstance(said, dict) and said.get("detail") == gone:
                return None
            raise self._unclear(what, "it answered 404, but not that this is not there", _ADDRESS)
        if not isinstance(said, dict) or {name: said.get(name) for name in asked} != asked:
            raise self._unclear(what, "it answered something else", _ADDRESS)
        if wanted not in said:
            raise self._unclear(what, f"its answer has no {wanted}", _ADDRESS)
        return said

    def _asked(
        self, path: str, what: str, *, method: str = "GET", good: tuple[int, ...] = (200,), **more: Any
    ) -> httpx.Response:
        """The answer to a request, if its status is a good one. Asked again where that may help."""
        renewed = bool(self._token) and not self._user
        for pause in (*_PAUSES, None):
            try:
                answer = self._send(method, f"{self.url}/api/v2{path}", what, **more)
                if answer.status_code == 401 and not renewed:
                    self._token, renewed = "", True
                    answer = self._send(method, f"{self.url}/api/v2{path}", what, **more)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                reason, again = f"no answer from {self.url} ({type(error).__name__})", method == "GET"
            else:
                if answer.status_code in good:
                    return answer
                reason = f"it answered {answer.status_code}"
                if answer.status_code in (401, 403):
                    raise self._unclear(what, reason, _RIGHTS)
                again = method == "GET" and (answer.status_code == 429 or answer.status_code >= 500)
            if pause is None or not again:
                raise self._unclear(what, reason)
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _send(self, method: str, url: str, what: str, **more: Any) -> httpx.Response:
        if not self._token and self._user:
            self._token = self._login(what)
        return self._raw(method, url, headers={"Authorization": f"Bearer {self._token}"}, **more)

    def _login(self, what: str) -> str:
        body = {"username": self._user, "password": self._password}
        answer = self._raw("POST", f"{self.url}/auth/token", json=body)
        said = _json(answer)
        if answer.status_code not in (200, 201) or not isinstance(said, dict) or "access_token" not in said:
            raise self._unclear(
                what,
                f"it gave {self._user} no token ({answer.status_code})",
                "Correct user and password of the connection, or put a token there as its password, with no "
                "user.",
            )
        return str(said["access_token"])

    def _raw(self, method: str, url: str, **more: Any) -> httpx.Response:
        self._pace()
        self.requests += 1
        return self._client.request(method, url, **more)

    def _unclear(self, what: str, reason: str, advice: str = "") -> CannotAskAirflow:
        return CannotAskAirflow(
            f"Airflow at {self.url} did not say clearly whether there is {what}: {reason}",
            advice or "What was deleted until now had no row. Look at the api-server, then begin again.",
        )


_ADDRESS = (
    f"The connection in {config.API_CONN_ID.variable} has to name the api-server itself, with the path that "
    'a proxy gives it, if any, as "path" in its extra.'
)


def can_be_asked(address: Address, *, run_alone: bool = False) -> bool:
    """Whether there is a question for an address (or for its run alone), to which an answer is about it. A
    part of a path can be neither empty nor a point or two, and most servers read an encoded slash as one;
    Airflow's cut a line end off, and no database has a null or half a character. A question that Airflow
    can't answer would end the whole collection."""
    parts = [address.dag_id, address.run_id, *([] if run_alone else [address.task_id])]
    whole = [*parts, *([] if run_alone else address.key.split("/"))]
    text = "".join(whole)
    can_travel = {"\n", "\r", "\0"}.isdisjoint(text) and not any("\ud800" <= c <= "\udfff" for c in text)
    has_index = run_alone or -1 <= address.map_index <= _LARGEST_INDEX
    return (
        can_travel
        and has_index
        and not any("/" in part for part in parts)
        and {"", ".", ".."}.isdisjoint(whole)
    )


def _row_path(address: Address) -> str:
    return (
        f"/dags/{_part(address.dag_id)}/dagRuns/{_part(address.run_id)}"
        f"/taskInstances/{_part(address.task_id)}/xcomEntries/{_part(address.key)}"
    )


def _has(found: Any, shape: Mapping[str, type]) -> bool:
    return isinstance(found, dict) and all(type(found.get(name)) is kind for name, kind in shape.items())


def _part(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        return None
