"""What Airflow learns of the pages: where they are, and in which places of its UI they show up.

Every process of Airflow loads its plugins. So nothing heavy is imported before somebody opens a page.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from .. import config

PREFIX = "/exclusive-xcom"  # below which the pages are; "/xcoms" is a page of Airflow's own
_TASK = "dag_id={DAG_ID}&run_id={RUN_ID}&task_id={TASK_ID}&map_index={MAP_INDEX}"


class Pages:
    """The pages as an ASGI application, which is made when the first of them is asked for."""

    def __init__(self, *, has_downloads: bool = False) -> None:
        self._app: Any = None
        self._has_downloads = has_downloads

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._app is None:
            from .app import make

            self._app = make(has_downloads=self._has_downloads)
        await self._app(scope, receive, send)


class ExclusiveXcomPlugin(AirflowPlugin):
    """The tab "Payloads" of a task instance, and the page "Stored XComs" in the menu."""

    name = "exclusive_xcom"

    @classmethod
    def on_load(cls, *_: Any, **__: Any) -> None:
        """Nothing is added unless AIRFLOW__XCOM__UI is "on". Airflow logs a `BadOption`."""
        if config.UI.read() != "on":
            return
        pages = Pages(has_downloads=config.DOWNLOADS.read() == "on")
        cls.fastapi_apps = [{"name": "Payloads of XComs", "app": pages, "url_prefix": PREFIX}]
        # Without a slash in front: from where Airflow's own pages are, also behind a proxy's path.
        cls.external_views = [
            {
                "name": "Payloads",
                "destination": "task_instance",
                "url_route": "payloads",
                "href": f"{PREFIX[1:]}/task?{_TASK}",
            },
            {
                "name": "Stored XComs",
                "destination": "nav",
                "category": "browse",
                "url_route": "stored-xcoms",
                "href": f"{PREFIX[1:]}/",
            },
        ]
