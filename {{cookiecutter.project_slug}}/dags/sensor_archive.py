"""Heavy files: a file travels from one task to another, and is checked where it arrives."""

from __future__ import annotations

import hashlib
import math
import shutil
from datetime import timedelta
from itertools import islice

from airflow.sdk import dag, get_current_context, task
from exclusive_xcom import Handle, lazy

from {{ cookiecutter.__package }} import settings


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["template-example", "files"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def sensor_archive():
    """
    # Hand a heavy file to a task that may run on another machine

    Exports the readings of temperature sensors (invented, made by the task itself) into one file of
    `sensor_archive_kibibytes` KiB, and hands the file on. The next tasks may run where that disk does not
    exist: they get the file's content.

    **What is handed over:** a `Path`, as `return lazy(path)`. `archive` fetches the file by `path()`,
    compares its SHA-256 with what the producer pushed under the key `sha256`, and keeps it as
    `output/sensor_archive/readings.csv`. `preview` reads its first lines from `open()`, in constant memory.
    Without `lazy` a consumer gets the local `Path` at once: `check_header` shows it with a small file.

    **Variables:** `sensor_archive_kibibytes`, `output_folder`.
    """

    @task
    def export():
        """Write the file, and push its checksum beside it."""
        size = settings.SensorArchive.read().kibibytes * 1024
        digest = hashlib.sha256()
        path = settings.output_file("export.csv")
        with path.open("wb") as file:
            line, second = b"second,sensor,celsius\n", 0
            while size > 0:
                piece = line[:size]
                digest.update(piece)
                size -= file.write(piece)
                line = f"{second},S{second % 40:02},{20 + 5 * math.sin(second / 13_750):.3f}\n".encode()
                second += 1
        get_current_context()["ti"].xcom_push(key="sha256", value=digest.hexdigest())
        return lazy(path)

    @task
    def describe():
        """A small file: what the columns of the large one mean."""
        path = settings.output_file("COLUMNS.txt")
        path.write_text("second: since the start\nsensor: its name\ncelsius: temperature\n", encoding="utf-8")
        return path

    @task(multiple_outputs=False)
    def archive(exported: Handle) -> dict[str, int | str]:
        """Keep the file if it is what the producer wrote."""
        expected = get_current_context()["ti"].xcom_pull(task_ids="export", key="sha256", map_indexes=-1)
        arrived = exported.path()
        with arrived.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ValueError(f"The file that arrived has SHA-256 {found}, the one that was sent {expected}.")
        shutil.copyfile(arrived, settings.output_file("readings.csv"))
        return {"bytes": arrived.stat().st_size, "sha256": found}

    @task
    def preview(exported: Handle) -> list[str]:
        """The first three lines."""
        with exported.open() as file:
            return [line.decode().rstrip("\n") for line in islice(file, 3)]

    @task
    def check_header(preview: list[str], described) -> list[str]:
        """Every column of the export is described; gives their names."""
        names = [line.split(":")[0] for line in described.read_text(encoding="utf-8").splitlines()]
        if preview[0].split(",") != names:
            raise ValueError(f"The export has the columns {preview[0]}, described are {names}.")
        return names

    exported = export()
    archive(exported)
    check_header(preview(exported), describe())


sensor_archive()
