"""The project's DAGs as its tests see them: loaded once, as Airflow does, and what was noticed meanwhile."""

from __future__ import annotations

import os
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from pkgutil import resolve_name
from traceback import walk_stack
from typing import TYPE_CHECKING, Any

import pytest

from ..console import Refused
from ..local.pipelines import Found, Pipeline, choose, shown

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

# What airflow.sdk and the hooks of all providers end in, and the former ways that still exist.
_READS = {
    "airflow.sdk.execution_time.context._get_variable": "Variable",
    "airflow.sdk.execution_time.context._get_connection": "connection",
    "airflow.models.Variable.get": "Variable",
    "airflow.models.Connection.get_connection_from_secrets": "connection",
}


@dataclass
class Loaded:
    """A folder of DAG files, imported: its DAGs, why files failed, what they read meanwhile."""

    folder: Path
    bag: DagBag = field(init=False)
    _reads: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict), init=False)

    def __post_init__(self) -> None:
        from airflow.dag_processing.dagbag import DagBag

        with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
            warnings.simplefilter("always")
            for function, kind in _READS.items():
                owner, _, name = function.rpartition(".")
                patched.setattr(function, self._noting(kind, resolve_name(owner), name))
            if str(self.folder) not in sys.path:
                sys.path.append(str(self.folder))  # where Airflow looks for helpers of DAG files, too
            self.bag = DagBag(self.folder)

    def dags(self, file: Path) -> list[Any]:
        """The DAGs that a file defines."""
        return [dag for dag in self.bag.dags.values() if Path(dag.fileloc) == file]

    def error(self, file: Path) -> str:
        """Why a file can't be imported, with the lines where it happened; empty if it can."""
        return str(self.bag.import_errors.get(str(file), "")).strip()

    def reads(self, file: Path) -> list[str]:
        """What was read while the file was imported: "Variable rate in dags/prices.py, line 7"."""
        return list(self._reads[str(file)])

    def deprecated(self, file: Path) -> list[str]:
        """What Airflow, or Python about a line of ours, says that a later version will not have."""
        said = self.bag.captured_warnings.get(str(file), ())
        ours = f"{self.folder.parent}{os.sep}"
        return [
            text
            for text in said
            if "RemovedInAirflow" in text
            or "AirflowProviderDeprecation" in text
            or ("Deprecat" in text and text.startswith(ours) and "site-packages" not in text)
        ]

    def dag(self, name: str) -> Any:
        """The one DAG that a name means, as for `make run`. Raises `Refused` or `Failed` if there is none."""
        errors = {shown(Path(file)): text.strip() for file, text in self.bag.import_errors.items()}
        known = [Pipeline(dag_id, shown(Path(dag.fileloc))) for dag_id, dag in sorted(self.bag.dags.items())]
        chosen = choose(Found(shown(self.folder), known, errors), [name])
        if chosen.broken:
            raise Refused(
                "\n".join(f"{file} can't be imported:\n{why}" for file, why in chosen.broken.items())
            )
        if len(chosen.dag_ids) > 1:
            raise Refused(f"{name!r} has several DAGs: {', '.join(chosen.dag_ids)}. Say which.")
        return self.bag.dags[chosen.dag_ids[0]]

    def _noting(self, kind: str, owner: Any, name: str) -> Callable[..., Any]:
        read = getattr(owner, name)

        def noted(*args: Any, **options: Any) -> Any:
            frames = [(Path(frame.f_code.co_filename), line) for frame, line in walk_stack(None)]
            if ours := [(path, line) for path, line in frames if path.is_relative_to(self.folder)]:
                (nearest, line), (file, _) = ours[0], ours[-1]
                what = next(iter((*args, *options.values())))
                self._reads[str(file)][f"{kind} {what} in {shown(nearest)}, line {line}"] = None
            return read(*args, **options)

        return noted


def load(folder: Path) -> Loaded:
    """Import a folder of DAG files. Nobody waits before a second try of their tasks."""
    loaded = Loaded(folder)
    for dag in loaded.bag.dags.values():
        for task in dag.tasks:
            task.retry_delay = timedelta(0)
    return loaded


def files(folder: Path) -> list[Path]:
    """The files that Airflow imports: no one that an .airflowignore names, and no helper without a DAG."""
    try:
        from airflow.utils.file import list_py_file_paths
    except ImportError:
        return _definitions(folder)
    return sorted(map(Path, list_py_file_paths(folder)))


def _definitions(folder: Path) -> list[Path]:
    """The same on Airflow 3.4, where an importer for each kind of file tells what it would import."""
    from airflow.dag_processing.bundles.local import LocalDagBundle
    from airflow.sdk.importers import FilesystemDagDefinition, get_importer_registry

    listed = get_importer_registry().list_dag_definitions(LocalDagBundle(name="dags", path=str(folder)))
    return sorted(found.path for _, found in listed if isinstance(found, FilesystemDagDefinition))


def dags_folder() -> Path:
    """Where Airflow looks for DAGs."""
    from airflow.configuration import conf

    return Path(conf.get("core", "dags_folder"))
