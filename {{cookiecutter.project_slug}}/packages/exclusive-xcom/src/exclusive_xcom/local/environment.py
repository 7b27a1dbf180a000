"""What config/airflow.env, .env and the machine's own variables add up to: the environment of this project.

Whatever starts Airflow here calls `activate()` first; so can an IDE or a notebook, before it imports Airflow:

    from exclusive_xcom.local import environment
    environment.activate()
"""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from secrets import token_bytes, token_hex

from dotenv import dotenv_values, set_key

from ..console import Refused

SETTINGS = Path("config/airflow.env")
SECRETS = Path(".env")

# Always from the file. A shell may export another project's, whose database we would migrate.
OURS_ALONE = ("AIRFLOW_HOME", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__DAGS_FOLDER")
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
    advice = "Run this in the project's folder: `uv run xcom …`."
    raise NotInProject(f"There is no {SETTINGS} in {here} or above it. {advice}")


def read(folder: Path, environ: Mapping[str, str], *, secrets: bool = True) -> dict[str, str]:
    """`environ`, completed with config/airflow.env and .env. What is set wins, except over `OURS_ALONE`.
    Of .env, unless `secrets` is false, names that begin with AIRFLOW count; others are for docker compose."""
    own = _values(folder / SECRETS, folder) if secrets else {}
    own = {name: value for name, value in own.items() if name.startswith("AIRFLOW")} | dict(environ)
    own = {name: value for name, value in own.items() if name not in OURS_ALONE}
    return _values(folder / SETTINGS, folder) | own


def activate() -> Path | None:
    """Make this process, and what it starts, part of the project. Call it before Airflow is imported. Returns
    the project's folder; None outside of one and in a deployment, where nothing is changed."""
    try:
        folder = project()
    except NotInProject:
        return None
    for name in MISLEADING:
        os.environ.pop(name, None)
    os.environ.update(read(folder, os.environ))
    os.environ.update(reach_loopback(os.environ))
    os.chdir(folder)
    return folder


def reach_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep requests to this machine away from a proxy."""
    if not any(name in environ for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    known = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = dict.fromkeys([*filter(None, known.split(",")), "127.0.0.1", "localhost"])
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))


def _values(path: Path, folder: Path) -> dict[str, str]:
    """The variables of a file that are not empty; ${PWD} is the project's folder, wherever we were called."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8").replace("${PWD}", str(folder))
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value}


def write_secrets(folder: Path) -> list[str]:
    """Make .env from .env.example, or add what it lacks: each name without a value gets a random one. Returns
    the names that were added. What .env has already is left alone."""
    path = folder / SECRETS
    example = dotenv_values(folder / ".env.example")
    there = dotenv_values(path) if path.is_file() else {}
    missing = [name for name, value in example.items() if not value and not there.get(name)]
    if missing and not path.exists():
        path.touch(mode=0o600)  # nobody but its owner may read it, from its first moment on
        path.write_text("# Secrets, made by `make .env`. What they are for is said in .env.example.\n")
    for name in missing:
        # Hexadecimal needs no quoting.
        fernet = name.endswith("FERNET_KEY")
        secret = base64.urlsafe_b64encode(token_bytes(32)).decode() if fernet else token_hex(24)
        set_key(path.resolve(), name, secret, quote_mode="never")
    return missing
