"""Receives what Airflow's own StatsD client sends, over a real UDP socket."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from exclusive_xcom import metrics


@dataclass(frozen=True)
class Metric:
    """One line of StatsD's protocol, with InfluxDB's tags."""

    name: str
    value: float
    kind: str
    tags: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, line: str) -> Metric:
        """Of its text: `name,tag=value:1|c`."""
        found = re.fullmatch(r"([^,:|]+)((?:,[^,:|= ]+=[^,:|= ]+)*):([^:|]+)\|(c|ms|g)", line)
        assert found, line
        name, tags, value, kind = found.groups()
        pairs = dict(pair.split("=") for pair in tags.split(",")[1:])
        return cls(name.removeprefix("airflow."), float(value), kind, pairs)


class Receiver:
    """What was sent of ours until now."""

    def __init__(self, receiving: socket.socket) -> None:
        self._socket = receiving
        self._found: list[Metric] = []

    def of(self, *names: str) -> list[Metric]:
        """What was sent under these names; without one, under any."""
        self._found += [metric for metric in map(Metric.of, self._lines()) if metric.name in metrics.METRICS]
        return [metric for metric in self._found if metric.name in names or not names]

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                yield from self._socket.recv(65536).decode().splitlines()
            except BlockingIOError:
                return


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Meanwhile Airflow's stats go to a receiver: they are set up as a worker does it for a task."""
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, pytest.MonkeyPatch.context() as patch:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        receiver.setblocking(False)
        for name, value in {
            "STATSD_ON": "True",
            "STATSD_HOST": "127.0.0.1",
            "STATSD_PORT": str(receiver.getsockname()[1]),
            "STATSD_INFLUXDB_ENABLED": "True",
        }.items():
            patch.setenv(f"AIRFLOW__METRICS__{name}", value)
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
        yield Receiver(receiver)
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
