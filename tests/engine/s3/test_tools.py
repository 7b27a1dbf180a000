"""What lies in the bucket is of use without this project: other programs open it, by its path and format."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import feather, fs, ipc
from pyarrow import parquet as pq
from s3_servers import BUCKET, KEY, SECRET, boto, configured

from exclusive_xcom.s3 import S3XComBackend

FRAME = pd.DataFrame(
    {
        "n": range(1000),
        "price": np.linspace(0, 1, 1000).round(3),
        "name": [f"item {n}" for n in range(1000)],
        "at": pd.date_range("2026-01-01", periods=1000, freq="h", tz="Europe/Rome"),
    }
)


def push(value: Any) -> str:
    """Where a value is kept."""
    row = S3XComBackend.serialize_value(
        value,
        key="return_value",
        dag_id="shop",
        run_id="scheduled__2026-01-02T03:04:05+00:00",
        task_id="load",
    )
    return str(row["uri"])


@pytest.fixture(params=["arrow", "parquet"])
def frame_uri(request: pytest.FixtureRequest, moto: str) -> Iterator[str]:
    """A frame in the bucket, in either format."""
    with configured(moto, frame_format=request.param):
        uri = push(FRAME)
        assert uri.endswith(f".{request.param}")
        yield uri


def options(moto: str) -> dict[str, str]:
    """How polars is led to moto."""
    return {
        "aws_access_key_id": KEY,
        "aws_secret_access_key": SECRET,
        "aws_region": "us-east-1",
        "aws_endpoint_url": moto,
        "aws_allow_http": "true",
    }


def check(found: pd.DataFrame) -> None:
    """It is our frame."""
    assert list(found.columns) == list(FRAME.columns)
    assert found["n"].tolist() == FRAME["n"].tolist()
    assert found["name"].tolist() == FRAME["name"].tolist()
    assert found["price"].tolist() == FRAME["price"].tolist()


def test_polars_reads_a_frame_by_its_uri(frame_uri: str, moto: str) -> None:
    read = pl.read_parquet if frame_uri.endswith(".parquet") else pl.read_ipc
    check(read(frame_uri, storage_options=options(moto)).to_pandas())


def test_pyarrow_reads_a_frame_by_its_path(frame_uri: str, moto: str) -> None:
    system = fs.S3FileSystem(
        access_key=KEY,
        secret_key=SECRET,
        region="us-east-1",
        endpoint_override=moto.removeprefix("http://"),
        scheme="http",
    )
    with system.open_input_file(frame_uri.removeprefix("s3://")) as file:
        table = pq.read_table(file) if frame_uri.endswith(".parquet") else ipc.open_file(file).read_all()
    check(table.to_pandas())


def test_a_downloaded_frame_opens_everywhere(frame_uri: str, moto: str, tmp_path: Path) -> None:
    path = tmp_path / frame_uri.rpartition("/")[2]
    boto(moto).download_file(BUCKET, urlsplit(frame_uri).path[1:], str(path))
    if path.suffix == ".parquet":
        check(pd.read_parquet(path))
        check(pl.read_parquet(path).to_pandas())
        assert duckdb.sql(f"select sum(n), count(distinct name) from '{path}'").fetchall() == [(499500, 1000)]
    else:
        check(pd.read_feather(path))
        check(pl.read_ipc(path).to_pandas())
        assert duckdb.from_arrow(feather.read_table(path)).count("n").fetchall() == [(1000,)]


def body(moto: str, uri: str) -> bytes:
    """An object's bytes."""
    return boto(moto).get_object(Bucket=BUCKET, Key=urlsplit(uri).path[1:])["Body"].read()


def test_other_values_are_in_their_own_formats(moto: str) -> None:
    few = [{"n": n, "text": f"line {n}"} for n in range(200)]
    records = 50 * few
    array = np.arange(12_000, dtype="float32").reshape(100, 120)
    image = Image.fromarray(np.arange(30_000, dtype="uint8").reshape(100, 100, 3))
    with configured(moto):
        uri = push(few)
        assert uri.endswith(".json")
        assert json.loads(body(moto, uri)) == few
        uri = push(records)
        assert uri.endswith(".json.zst")
        with pa.input_stream(io.BytesIO(body(moto, uri)), compression="zstd") as file:
            assert json.loads(file.read()) == records
        uri = push(array)
        assert uri.endswith(".npy")
        assert np.array_equal(np.load(io.BytesIO(body(moto, uri)), allow_pickle=False), array)
        uri = push(image)
        assert uri.endswith(".png")
        assert Image.open(io.BytesIO(body(moto, uri))).tobytes() == image.tobytes()
        assert boto(moto).head_object(Bucket=BUCKET, Key=urlsplit(uri).path[1:])["ContentType"] == "image/png"


def test_a_folder_is_read_by_path(tmp_path: Path) -> None:
    with configured("", tmp_path.as_uri(), frame_format="parquet"):
        path = urlsplit(push(FRAME)).path
    check(pd.read_parquet(path))
    assert duckdb.sql(f"select count(*) from '{path}'").fetchall() == [(1000,)]
