"""The tests' own Airflow, its store, and the fixtures `run`, `round_trip` and `store`, from the package.

What they do, with an example, stands in exclusive_xcom/testing/fixtures.py.
"""

from __future__ import annotations

pytest_plugins = ["exclusive_xcom.testing.fixtures"]
