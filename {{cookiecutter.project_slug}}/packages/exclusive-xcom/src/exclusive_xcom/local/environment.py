"""What the project's files of settings and the machine's own variables add up to: the project's environment.

Whatever starts Airflow here calls `activate()` first; so can an IDE or a notebook, before it imports Airflow:

    from exclusive_xcom.local import environment
    environment.activate()
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ..console import Refused
from . import envfile

SETTINGS = Path("config/airflow.env")
LOCAL = Path("config/local.env")
CONNECTIONS = Path("connections.env")
SECRETS = Path(".env")

# Always from the files. A shell may export another project's, whose database we would migrate.
OURS_ALONE = (
    "AIRFLOW_HOME",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__DAGS_FOLDER",
    "AIRFLOW__CORE__PLUGINS_FOLDER",
)
# Other ways to say the same, which Airflow would prefer.
MISLEADING = (
    "AIRFLOW_CONFIG",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_SECRET",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST",
)


class NotInProject(Refused):
    """The command needs the project's folder, and is called outside of one."""


def project() -> Path:
    """The project's folder: the nearest one with settings, from the current folder upwards; else the one that
    holds this Python's virtual environment. Raises `NotInProject`."""
    try:
        here, environment = Path.cwd(), Path(sys.prefix).resolve()
    except FileNotFoundError:
        raise NotInProject("The current folder is gone. Change into the project's folder.") from None
    for folder in (here, *here.parents, environment.parent):
        if (folder / SETTINGS).is_file():
            # In an image a project's files lie in Airflow's own folder, and Python elsewhere.
            airflow = Path(os.environ.get("AIRFLOW_HOME", os.devnull)).resolve()
            if airflow == folder.resolve() and not environment.is_relative_to(airflow):
                raise NotInProject(f"{folder} is AIRFLOW_HOME of a deployment. This is for your own machine.")
            return folder
    advice = "Run this in the project's folder: `.venv/bin/xcom …`."
    raise NotInProject(f"There is no {SETTINGS} in {here} or above it. {advice}")


def home() -> Path:
    """Airflow's folder in this project. Raises `NotInProject`."""
    project()
    return Path(os.environ["AIRFLOW_HOME"])


def read(
    folder: Path, environ: Mapping[str, str], *, secrets: bool = True, store: bool = True
) -> dict[str, str]:
    """`environ`, completed with the project's files: airflow.env, local.env, connections.env, .env. Where two
    say the same the later one counts, and `environ` before all, except for `OURS_ALONE`.

    Args:
        folder: The project's. In the files it is ${PWD}, and ${NAME} another variable of `environ`.
        environ: What is set outside.
        secrets: Whether .env counts. Of it only names that begin with AIRFLOW do: the others are for compose.
        store: Whether the files' connection to the XCom store counts. Tests have a store of their own.

    Raises:
        Refused: a line of a file can't be understood. The text names file and line.
    """
    known = {**environ, "PWD": str(folder)}
    ours: dict[str, str] = {}
    for file in (SETTINGS, LOCAL):
        ours |= envfile.read(folder / file, known | ours, file)
    own = envfile.read(folder / CONNECTIONS, known | ours, CONNECTIONS)
    if secrets:
        own |= envfile.read(folder / SECRETS, known | ours, SECRETS, begins="AIRFLOW")
    if not store:
        connection = environ.get("AIRFLOW__XCOM__CONN_ID") or ours.get("AIRFLOW__XCOM__CONN_ID", "")
        own.pop(f"{envfile.CONNECTION}{connection.upper()}", None)
    own |= environ
    return ours | {name: value for name, value in own.items() if name not in OURS_ALONE}


def activate() -> Path | None:
    """Make this process, and what it starts, part of the project. Call it before Airflow is imported. Returns
    the project's folder; None outside of one and in a deployment, where nothing is changed. Raises `Refused`
    when a file of settings can't be understood."""
    try:
        folder = project()
    except NotInProject:
        return None
    if "$" in str(folder):
        raise Refused(f"Airflow takes the $ in {folder} for a variable: move the project to another folder.")
    found = read(folder, os.environ)
    if "AIRFLOW_HOME" not in found:
        raise Refused(f"AIRFLOW_HOME is missing in {LOCAL}: it keeps this project's Airflow in its folder.")
    for name in MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(found)
    os.environ.update(reach_loopback(os.environ))
    os.chdir(folder)
    _make_importable(folder)
    return folder


def _make_importable(folder: Path) -> None:
    """`from include.queries import …` works in DAG files, as the image's PYTHONPATH has it, too."""
    paths = [str(folder), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def reach_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep requests to this machine away from a proxy."""
    if not any(name in environ for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    known = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = dict.fromkeys([*filter(None, known.split(",")), "127.0.0.1", "localhost"])
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))
