"""Does a step of handing over a value on a slow network, where bench.py counts the round trips.

`zygote.py` calls `main`.
"""

from __future__ import annotations

from typing import Any

import payloads
from measure import backend, pull, push, small_like


def main(path: str, payload: str, steps: int) -> dict[str, Any]:
    """Warm up: imports, connections. Then push (from one step on) and pull (from two steps on)."""
    way = backend(path)
    warm = "mapped@1" if payload.startswith("mapped") else payload
    pull(way, warm, push(way, warm, small_like(payload)))
    if steps:
        row = push(way, payload, payloads.make(payload))
    if steps > 1:
        pull(way, payload, row)
    return {}
