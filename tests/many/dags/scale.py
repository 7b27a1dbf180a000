"""Much at a time, and large values: many tasks for one, writers at once, a frame of 1 GiB, a file of 4 GiB.

What a task makes can be made again from its number, so that who reads it can tell whether it is right. Notes
for who measures are left in a folder that the conf of the run names.
"""

# mypy: ignore-errors

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import time
from pathlib import Path
from typing import Any

from airflow.sdk import dag, get_current_context, task

COLUMNS, ROWS = 16, 1 << 23  # of eight bytes each: 1 GiB
CHUNK = 1 << 20  # bytes


def conf() -> dict[str, Any]:
    """What this run was told."""
    return get_current_context()["dag_run"].conf


def note(name: str, **told: Any) -> None:
    """Leave a note."""
    (Path(conf()["notes"]) / f"{name}.json").write_text(json.dumps(told), "utf-8")


def text_of(number: int) -> str:
    """1,000,000 letters and digits that compress badly."""
    return base64.b64encode(random.Random(number).randbytes(750_000)).decode()


def value_of(number: int, size: int) -> Any:
    """So many bytes; without a size, a text."""
    return random.Random(number).randbytes(size) if size else text_of(number)


def column(number: int) -> Any:
    """Random numbers, which do not compress."""
    import numpy as np

    return np.random.default_rng(number).random(ROWS)


@dag(schedule=None, max_active_tasks=64)
def scale_mapped() -> None:
    """Each of many tasks hands over a text; one task reads them all."""

    @task
    def numbers() -> list[int]:
        return list(range(conf()["tasks"]))

    @task(max_active_tis_per_dagrun=8)
    def make(number: int) -> str:
        return text_of(number)

    @task
    def read(made: Any) -> None:
        began = time.time()
        right = sum(each == text_of(number) for number, each in enumerate(made))
        note("read", right=right, of=conf()["tasks"], seconds=time.time() - began)

    read(make.expand(number=numbers()))


@dag(schedule=None, max_active_tasks=64)
def scale_at_once() -> None:
    """Writers wait for each other, then all push in the same moment."""

    @task
    def numbers() -> list[int]:
        return list(range(conf()["tasks"]))

    @task
    def write(number: int) -> None:
        told = conf()
        value = value_of(number, told["size"])
        note(f"here-{number}")
        while len(list(Path(told["notes"]).glob("here-*"))) < told["tasks"]:
            time.sleep(0.1)
        began = time.time()
        get_current_context()["ti"].xcom_push("value", value)
        note(f"written-{number}", began=began, ended=time.time())

    @task
    def read() -> None:
        told = conf()
        began = time.time()
        indexes = range(told["tasks"])
        made = get_current_context()["ti"].xcom_pull("write", key="value", map_indexes=list(indexes))
        right = sum(each == value_of(number, told["size"]) for number, each in enumerate(made))
        note("read", right=right, of=told["tasks"], seconds=time.time() - began)

    write.expand(number=numbers()) >> read()


@dag(schedule=None)
def scale_frame() -> None:
    """A frame that fills 1 GiB of memory."""

    @task
    def make() -> Any:
        import numpy as np
        import pandas as pd

        block = np.empty((COLUMNS, ROWS))
        for number in range(COLUMNS):
            block[number] = column(number)
        return pd.DataFrame(block.T, columns=[f"c{number}" for number in range(COLUMNS)], copy=False)

    @task
    def read(made: Any) -> None:
        right = sum(bool((made[f"c{number}"] == column(number)).all()) for number in range(COLUMNS))
        note("read", right=right, of=COLUMNS)

    read(make())


@dag(schedule=None)
def scale_file() -> None:
    """A file that no memory has to hold."""

    @task
    def make() -> Path:
        path, digest = Path("output") / "large.bin", hashlib.sha256()
        with path.open("wb") as file:
            for _ in range(conf()["chunks"]):
                file.write(content := os.urandom(CHUNK))
                digest.update(content)
        note("made", sha256=digest.hexdigest())
        return path

    @task
    def read(made: Path) -> None:
        with made.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        expected = json.loads((Path(conf()["notes"]) / "made.json").read_text("utf-8"))["sha256"]
        note("read", right=int(found == expected), of=1)

    read(make())


scale_mapped()
scale_at_once()
scale_frame()
scale_file()
