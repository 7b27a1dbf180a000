"""Makes the database ready, and loads the project's DAGs as Airflow does.

Imports Airflow, so `environment.activate()` comes first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

from . import metadata, traces
from .pipelines import Found, Pipeline, shown


def load() -> tuple[dict[str, Any], Found]:
    """Bring database and Variables up to date. Returns the DAGs by their ids, and what was found."""
    # Airflow keeps the last two frames of an error, which are those of a library as often as not.
    os.environ["AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH"] = "100"
    metadata.prepare()
    # The first one is the project's. Behind it are those of LOAD_EXAMPLES, which are Airflow's.
    bundle = next(iter(DagBundlesManager().get_all_dag_bundles()))
    bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    # Each `dag.test()` writes all pipelines to the database. Once it has been done they only confirm it.
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, bundle.name, None)
    found = [
        Pipeline(id_, shown(dag.fileloc), sorted(dag.tags), off=dag.is_paused_upon_creation is True)
        for id_, dag in sorted(bag.dags.items())
    ]
    broken = {
        shown(Path(bundle.path, file)): traces.in_short_of_text(error)
        for file, error in sorted(bag.import_errors.items())
    }
    return dict(bag.dags), Found(shown(bundle.path), found, broken)
