"""What is imported before a fork: once, in the process that forks, and whatever fails in it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

FORK = """
import json, os, sys
from exclusive_xcom import forks

forks.shared("no_such_module_at_all", "wave", "no.such.package")
before = "wave" in sys.modules
read, write = os.pipe()
if not os.fork():
    os.write(write, b"yes" if "wave" in sys.modules else b"no")
    os._exit(0)
os.wait()
del sys.modules["wave"]
if not os.fork():
    os.write(write, b", once" if "wave" not in sys.modules else b", again")
    os._exit(0)
os.wait()
print(json.dumps([before, os.read(read, 100).decode()]))
"""


def test_a_forked_process_has_what_was_asked_for() -> None:
    said = subprocess.run([sys.executable, "-c", FORK], check=True, capture_output=True, text=True)
    assert json.loads(said.stdout) == [False, "yes, once"]
    assert said.stderr == ""


@pytest.mark.parametrize("backend", ["db", "s3", "redis"])
def test_what_a_backend_asks_for_is_there(backend: str) -> None:
    code = f"import airflow.sdk.execution_time.xcom, exclusive_xcom.{backend}, exclusive_xcom.forks as forks"
    said = subprocess.run(
        [sys.executable, "-c", f"{code}; print(*forks._wanted)"], check=True, capture_output=True, text=True
    )
    names = said.stdout.split()
    assert "exclusive_xcom.hooks" in names and "exclusive_xcom.codecs.structured" in names
    for name in names:
        importlib.import_module(name)
