"""What config/airflow.env, .env and the machine's own variables add up to: the environment of this project.

Everything that starts Airflow here (the `xcom` command, and through it make; the tests) calls
`activate()` first. In a deployment the package is installed without the project's folder around it,
and the environment is what the container was given: then nothing is changed.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from pathlib import Path
from secrets import token_bytes, token_hex

from dotenv import dotenv_values

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


class NotInProject(RuntimeError):
    """The command needs the project's folder, and this package is installed outside of it."""


def project() -> Path:
    """The project's folder.

    Raises:
        NotInProject: this package is installed somewhere else, as in a container.
    """
    folder = Path(__file__).resolve().parents[2]
    if not (folder / SETTINGS).is_file():
        raise NotInProject(
            f"There is no {SETTINGS} in {folder}. Run this in the project's folder: `uv run xcom …`."
        )
    return folder


def read(folder: Path, environ: Mapping[str, str], *, secrets: bool = True) -> dict[str, str]:
    """`environ`, completed with the variables of config/airflow.env and .env.

    Args:
        folder: the project's folder.
        environ: what is set already. It wins, except over `OURS_ALONE`. Of .env only names that begin
            with AIRFLOW count here: the others are for docker compose.
        secrets: whether .env counts.
    """
    found = _values(folder / SETTINGS, folder)
    own = _values(folder / SECRETS, folder) if secrets else {}
    own = {name: value for name, value in own.items() if name.startswith("AIRFLOW")} | dict(environ)
    return found | {name: value for name, value in own.items() if name not in OURS_ALONE}


def activate() -> Path | None:
    """Make this process, and what it starts, part of the project. Call it before Airflow is imported.

    Returns:
        The project's folder; None in a deployment, where nothing is changed.
    """
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
    hosts = [host for host in known.split(",") if host]
    hosts += [host for host in ("127.0.0.1", "localhost") if host not in hosts]
    return dict.fromkeys(("no_proxy", "NO_PROXY"), ",".join(hosts))


def _values(path: Path, folder: Path) -> dict[str, str]:
    """The variables of a file that are not empty; ${PWD} is the project's folder, wherever we were called."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8").replace("${PWD}", str(folder))
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value}


def write_secrets(folder: Path) -> list[str]:
    """Make .env from .env.example, or add what it lacks: every name without a value gets a random one.

    Returns:
        The names that were added. What .env has already is left alone.
    """
    path = folder / SECRETS
    example = dotenv_values(folder / ".env.example")
    there = dotenv_values(path) if path.is_file() else {}
    missing = [name for name, value in example.items() if not value and not there.get(name)]
    if missing:
        # Nobody but its owner may read it, from its first moment on.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(file, "a", encoding="utf-8") as out:
            if not there:
                out.write("# Secrets, made by `make .env`. What they are for is said in .env.example.\n")
            elif not path.read_text(encoding="utf-8").endswith("\n"):
                out.write("\n")
            for name in missing:
                out.write(f"{name}={_random(name)}\n")
    return missing


def _random(name: str) -> str:
    """A secret: a Fernet key where the name says so, otherwise hexadecimal, which needs no quoting."""
    if name.endswith("FERNET_KEY"):
        return base64.urlsafe_b64encode(token_bytes(32)).decode()
    return token_hex(24)
