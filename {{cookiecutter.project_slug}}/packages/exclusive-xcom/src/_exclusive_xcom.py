"""Gives plain `airflow`, scripts and notebooks in a project's folder that project's environment.

Python imports this when it starts (_exclusive_xcom.pth), so it does next to nothing: it waits for the first
import of Airflow. If a deployment or a test has set AIRFLOW_HOME by then, that is all there ever is. It
leaves no bytecode: where the package is installed from its sources, every start would change these.
"""

import os
import sys


class _AtAirflow:
    """Looked at for each import, it finds nothing; before Airflow's it goes, and sets the environment."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> None:
        if name == "airflow":
            sys.meta_path.remove(cls)
            home = os.environ.get("AIRFLOW_HOME", "").rstrip("/")
            if not home or os.path.basename(home) == ".airflow":
                _set_up()


def _set_up() -> None:
    try:
        from exclusive_xcom.local import plain
    except ImportError:  # without the extra `local` this is no machine for development
        return
    plain.set_up()


sys.meta_path.insert(0, _AtAirflow)
