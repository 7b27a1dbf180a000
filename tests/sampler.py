"""How much memory the parts of a deployment take while something is done to it, by the kernel's own count.

Memory that processes share counts once, in parts (PSS): so the sum over a component's processes is what a
container of it would have to have. Where a system has no such count (macOS), it is what is a process's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil

MIB = 1 << 20


def memory(pids: Iterable[int]) -> int:
    """Bytes that these processes take together. Those that have ended take none."""
    total = 0
    for pid in pids:
        with suppress(psutil.Error, OSError):
            found = psutil.Process(pid).memory_full_info()
            total += getattr(found, "pss", found.uss)
    return total


class Sampler:
    """Looks at parts of a deployment every other moment, in a thread. Use it as a context.

    Args:
        parts: for each part's name, a function that gives the ids of its processes.
        every: seconds between two looks.

    Attributes:
        before: bytes by part when it began.
        peak: the most that it saw of each.
    """

    def __init__(self, parts: dict[str, Callable[[], Iterable[int]]], every: float = 1.0) -> None:
        self._parts, self._every, self._over = parts, every, threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self.before: dict[str, int] = {}
        self.peak: dict[str, int] = {}

    def __enter__(self) -> Sampler:
        while len(self.before) < len(self._parts):
            self.before = self._look()
        self.peak = dict(self.before)
        self._thread.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._thread.join()

    def told(self, *names: str) -> str:
        """The one of these parts that took most: MiB before, and at its most."""
        name = max(names, key=lambda each: self.peak[each])
        return f"{self.before[name] // MIB:,} → {self.peak[name] // MIB:,}"

    def _look(self) -> dict[str, int]:
        found = {}
        for name, pids in self._parts.items():
            with suppress(OSError):  # one of them has ended while they were counted: the next look will do
                found[name] = memory(pids())
        return found

    def _look_on(self) -> None:
        while not self._over.wait(self._every):
            for name, taken in self._look().items():
                self.peak[name] = max(self.peak[name], taken)
