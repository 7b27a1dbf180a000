"""What has to hold for every DAG file. More rules: [tool.exclusive-xcom] in pyproject.toml."""

from __future__ import annotations

from exclusive_xcom.testing.dag_rules import DagRules


class TestDags(DagRules):
    """Each file in dags/ that Airflow looks at: it is imported in time, reads nothing meanwhile, is up to date."""
