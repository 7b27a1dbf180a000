"""Dagster's S3 pickle IO manager, used through its public methods, in an environment of its own.

Pickle is what it writes; it is measured here, and nothing of it is in a generated project.
"""

from __future__ import annotations

import json
import os
from typing import Any


class DagsterS3:
    """Pushes and pulls as the outputs and inputs of Dagster's steps would."""

    def __init__(self) -> None:
        from dagster_aws.s3 import S3PickleIOManager, S3Resource

        connection = json.loads(os.environ["AIRFLOW_CONN_BENCH_S3"])
        self.manager = S3PickleIOManager(
            s3_resource=S3Resource(
                endpoint_url=connection["extra"]["endpoint_url"],
                region_name=connection["extra"]["region_name"],
                aws_access_key_id=connection["login"],
                aws_secret_access_key=connection["password"],
            ),
            s3_bucket="bench",
        )

    def push(self, value: Any, key: str = "return_value", map_index: int = -1) -> Any:
        """Write an output; returns where it is."""
        from dagster import build_output_context

        output = build_output_context(step_key="push", name=key, run_id="run", mapping_key=str(map_index))
        self.manager.handle_output(output, value)
        return output

    def pull(self, row: Any) -> Any:
        """Read it as an input."""
        from dagster import build_input_context

        return self.manager.load_input(build_input_context(upstream_output=row))

    def pull_many(self, rows: list[Any]) -> list[Any]:
        """One after the other: it has no other way."""
        return [self.pull(row) for row in rows]

    def stored(self, row: Any) -> int:
        """Bytes of the object."""
        manager = self.manager.inner_io_manager()
        name = manager._get_path(row).as_posix()
        return int(manager.s3.head_object(Bucket=manager.bucket, Key=name)["ContentLength"])
