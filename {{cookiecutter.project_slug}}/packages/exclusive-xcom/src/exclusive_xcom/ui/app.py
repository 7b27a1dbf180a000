"""The routes of the pages: who may open which, and what no answer is without.

The pages run in Airflow's own origin, so what they show could act as who looks at it. Everything is escaped
by Jinja, and a policy lets no script and no style run but the two files beside this one, by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException as AnyHTTPException

from ..address import Address
from ..errors import visible
from ..preview.cells import short
from . import downloads, overview, payloads, words

# What no database has in a text, PostgreSQL refuses as a question, too.
_NoNul = Query(min_length=1, pattern="^[^\0]+$")
_HERE = Path(__file__).parent / "templates"
_WORDS = {
    401: ("Nobody is signed in", "Sign in to Airflow, in this window, and open this page again."),
    403: (
        "This is not for you",
        "You may not read the XComs of this DAG. An administrator of Airflow can allow it.",
    ),
    404: ("There is no such page", "It may have been there in another release."),
    422: ("The address is not complete", "Open this page from a task instance in Airflow."),
}


def _asset(name: str) -> tuple[Markup, str]:
    """A file that stands in each page, and what the policy calls it."""
    text = (_HERE / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"


_STYLE, _STYLE_DIGEST = _asset("style.css")
_SCRIPT, _SCRIPT_DIGEST = _asset("script.js")
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            f"style-src {_STYLE_DIGEST}",
            f"script-src {_SCRIPT_DIGEST}",
            "img-src data:",
            "form-action 'self'",
            "frame-ancestors 'self'",
            "base-uri 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_LONGEST = 5000  # characters of one text on a page


def _as_seen(told: Any) -> Any:
    """What a template writes, beside what is HTML already: rows and reports may hold texts that turn the
    letters beside them around, have no end, or are no Unicode."""
    return visible(short(told, _LONGEST), "\n") if type(told) is str else told


_jinja = Environment(
    loader=FileSystemLoader(_HERE),
    autoescape=True,
    finalize=_as_seen,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_jinja.filters |= {"size": words.size, "when": words.when, "left": words.left, "number": "{:,}".format}


def page(request: Request, template: str, status: int = 200, **told: Any) -> HTMLResponse:
    """A page. `base` leads to Airflow's own ones."""
    base = request.scope.get("app_root_path", "").rstrip("/") + "/"
    text = _jinja.get_template(template).render(base=base, style=_STYLE, script=_SCRIPT, **told)
    return HTMLResponse(text, status)


def readable_dag(request: Request, user: GetUserDep, dag_id: Annotated[str, _NoNul]) -> str:
    """The DAG that is asked for. 401 for nobody, 403 for who may not read its XComs, and for all DAGs."""
    if dag_id == "~":  # to Airflow every DAG
        raise HTTPException(HTTPStatus.FORBIDDEN)
    requires_access_dag("GET", DagAccessEntity.XCOM, param_dag_id=dag_id)(request, user)
    return dag_id


def _of_task(
    request: Request,
    dag_id: Annotated[str, Depends(readable_dag)],
    run_id: Annotated[str, _NoNul],
    task_id: Annotated[str, _NoNul],
    map_index: str = "",
    find: str = "",
    page_number: Annotated[int, Query(alias="page", ge=1, le=10**6)] = 1,
) -> HTMLResponse:
    """What a task instance has handed over."""
    index = int(map_index) if re.fullmatch("[0-9]{1,9}", map_index) else None  # {MAP_INDEX} of no mapped one
    found = payloads.find(dag_id, run_id, task_id, index, find.replace("\0", "").strip()[:512], page_number)
    return page(request, "payloads.html", found=found, has_downloads=request.app.state.has_downloads)


def _of_payload(
    user: GetUserDep,
    dag_id: Annotated[str, Depends(readable_dag)],
    run_id: Annotated[str, _NoNul],
    task_id: Annotated[str, _NoNul],
    key: Annotated[str, _NoNul],
    map_index: Annotated[int, Query(ge=-1, lt=10**9)] = -1,
) -> Response:
    """A payload as a file."""
    return downloads.given(user, Address.of(dag_id, run_id, task_id, map_index, key))


def _of_all(request: Request, user: GetUserDep) -> HTMLResponse:
    """What the store keeps of the DAGs whose XComs this user may read."""
    return page(request, "overview.html", found=overview.find(user))


def _said(request: Request, error: Exception) -> HTMLResponse:
    status = error.status_code if isinstance(error, AnyHTTPException) else 422
    title, advice = _WORDS.get(status, (HTTPStatus(status).phrase, ""))
    if isinstance(error, downloads.NotGiven):
        title, advice = "This payload can't be downloaded", error.detail
    return page(request, "said.html", status, title=title, advice=advice)


class _Guarded:
    """Gives every answer its headers, also that of an error."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Any]) -> None:
        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                mine = {name.lower() for name, _ in message["headers"]}
                added = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                more = [(name, value) for name, value in added if name not in mine]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        await self._app(scope, receive, guarded)


def make(*, has_downloads: bool = False) -> Any:
    """The application; with a route for payloads where they may be downloaded."""
    app = FastAPI(
        title="Payloads of XComs", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    app.add_api_route("/task", _of_task, response_class=HTMLResponse)
    app.add_api_route("/", _of_all, response_class=HTMLResponse)
    app.state.has_downloads = has_downloads
    if has_downloads:
        app.add_api_route("/payload", _of_payload, response_class=Response)
    app.add_exception_handler(AnyHTTPException, _said)
    app.add_exception_handler(RequestValidationError, _said)
    return _Guarded(app)
