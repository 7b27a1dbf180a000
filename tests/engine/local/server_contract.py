"""What a server for development must do, whichever it is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from exclusive_xcom.local import services


def connection_of(variables: Mapping[str, str]) -> dict[str, Any]:
    """The one connection among the variables that lead to servers."""
    (connection,) = map(json.loads, variables.values())
    return connection


def port_of(variables: Mapping[str, str]) -> int:
    """The port to which it leads."""
    connection = connection_of(variables)
    url = connection.get("extra", {}).get("endpoint_url", "")
    return int(url.rpartition(":")[2] or connection["port"])


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class ServerContract:
    """Inherited by the tests of a server; `wanted` is the configuration that asks for it."""

    wanted: ClassVar[dict[str, str]]

    def test_it_listens_on_this_machine_until_it_is_no_longer_wanted(self, tmp_path: Path) -> None:
        """Nobody listens any more when the context is left."""
        with services.running(self.wanted, tmp_path) as variables:
            port = port_of(variables)
            assert answers(port)
        assert not answers(port)

    def test_two_are_no_trouble(self, tmp_path: Path) -> None:
        """Each has a port of its own."""
        with (
            services.running(self.wanted, tmp_path / "one") as one,
            services.running(self.wanted, tmp_path / "two") as two,
        ):
            assert port_of(one) != port_of(two)
            assert answers(port_of(one)) and answers(port_of(two))

    def test_it_ends_with_who_started_it_even_if_that_one_is_killed(self, tmp_path: Path) -> None:
        """It notices by the end of its standard input."""
        starter = subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(
                    f"""
                    import sys, time
                    from pathlib import Path
                    from {services.__package__} import services
                    with services.running({self.wanted!r}, Path(sys.argv[1])) as variables:
                        print(*variables.values(), flush=True)
                        time.sleep(600)
                    """
                ),
                str(tmp_path),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert starter.stdout is not None
        with starter, starter.stdout:
            port = port_of({"": starter.stdout.readline()})
            assert answers(port)
            os.kill(starter.pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while answers(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not answers(port)
