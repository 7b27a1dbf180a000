"""Where a project's folder is: for a DAG at work, for a test, for a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def project_folder() -> Path:
    """The folder from which relative paths count: the nearest one that holds a folder `dags`.

    It is looked for upwards from the running DAG's own file, since a DAG bundle may keep several copies of
    the repository; where no task runs (a unit test, a notebook), upwards from the current folder. If there is
    none: the folder of the DAG's bundle, or, without a task, the one that holds Airflow's `dags_folder`.
    """
    context = running()
    start = Path(context["dag"].fileloc).resolve().parent if context else Path.cwd()
    for folder in (start, *start.parents):
        if (folder / "dags").is_dir():
            return folder
    if context:
        bundle = getattr(context.get("ti"), "bundle_instance", None)
        return Path(bundle.path) if bundle else start
    from airflow.configuration import conf

    return Path(conf.get("core", "dags_folder")).parent


def running() -> Any:
    """The context of the task that runs in this process; None if none does."""
    from airflow.sdk import get_current_context

    try:
        return get_current_context()
    except RuntimeError:
        return None


def found(path: Path, *, told: str) -> Path:
    """The path, if it exists.

    Raises:
        FileNotFoundError: it does not; says what there is in its folder, and what `told` has to say.
    """
    if path.exists():
        return path
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    there = f"In {folder} there is: {', '.join(names[:20]) or 'nothing'}{more}."
    raise FileNotFoundError(f"There is no {path}. {there} {told}")
