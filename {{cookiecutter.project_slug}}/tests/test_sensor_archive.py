"""The pipeline of heavy files: what arrives is the content, not the path."""

from __future__ import annotations

import hashlib

from exclusive_xcom import Handle
from exclusive_xcom.testing.fixtures import Runner


def test_the_file_arrives_as_it_was(run: Runner) -> None:
    done = run("sensor_archive")
    content = (done.output / "readings.csv").read_bytes()
    assert content == (done.output / "export.csv").read_bytes()
    assert content.startswith(b"second,sensor,celsius\n0,S00,20.000\n1,S01,20.000\n")
    digest = hashlib.sha256(content).hexdigest()
    assert done.value("export", key="sha256") == digest
    assert done.value("archive") == {"bytes": 500 * 1024, "sha256": digest}
    assert done.value("preview") == ["second,sensor,celsius", "0,S00,20.000", "1,S01,20.000"]
    assert done.value("check_header") == ["second", "sensor", "celsius"]

    (done.output / "export.csv").unlink()  # the consumer is on another machine
    exported = done.value("export")
    assert isinstance(exported, Handle)
    assert exported.path().read_bytes() == content
    with exported.open() as file:
        assert file.read() == content


def test_the_size_is_a_variable(run: Runner) -> None:
    assert run("sensor_archive", sensor_archive_kibibytes=3).value("archive")["bytes"] == 3 * 1024
