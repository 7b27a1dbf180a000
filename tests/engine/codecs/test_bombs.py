"""Small payloads that would take much memory or time: none takes more than the limit and a fixed room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import bombs
import pytest

FINE = {"PNG of frames", "npy: raw without a size", "npy: fields without a size"}  # they only look like bombs


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    """What came of each bomb. They go off in other processes, whose memory is limited."""
    script = Path(bombs.__file__)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(line) for line in run.stdout.splitlines())


@pytest.mark.parametrize("name", bombs.BOMBS)
def test_a_bomb_is_refused_before_it_takes_memory(name: str, outcomes: dict[str, Any]) -> None:
    end, grown = outcomes[name]["end"], outcomes[name].get("grown", 0)
    assert grown <= bombs.ROOM, outcomes[name]
    assert "little memory" not in end
    if name not in FINE:
        assert end.startswith("PayloadUnreadable: "), outcomes[name]
