"""What a store for development must do, whichever it is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import psutil
from small_project import eventually

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


def at_work(folder: Path) -> list[psutil.Process]:
    """The living processes that work in a folder: the server, and its keeper."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            inside = Path(process.cwd()).is_relative_to(folder)
            if inside and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def said_by(user: subprocess.Popen[str]) -> dict[str, str]:
    """What led another process to the server."""
    assert user.stdout is not None
    variables: dict[str, str] = json.loads(user.stdout.readline())
    return variables


class ServerContract:
    """Inherited by the tests of a server; `wanted` is the configuration that asks for it."""

    wanted: ClassVar[dict[str, str]]

    def write(self, variables: Mapping[str, str], name: str, value: bytes) -> None:
        """Keep a value in the server."""
        raise NotImplementedError

    def read(self, variables: Mapping[str, str], name: str) -> bytes:
        """What is kept."""
        raise NotImplementedError

    def is_refused(self, variables: Mapping[str, str]) -> bool:
        """Whether somebody who does not know the secret learns nothing."""
        raise NotImplementedError

    @contextlib.contextmanager
    def user(self, folder: Path) -> Iterator[subprocess.Popen[str]]:
        """Another process that uses the server until a line is written to it; says what led it there."""
        program = f"""
            import json, sys
            from pathlib import Path
            from {services.__package__} import services
            with services.running({self.wanted!r}, Path(sys.argv[1])) as variables:
                print(json.dumps(variables), flush=True)
                sys.stdin.readline()
            """
        command = [sys.executable, "-c", textwrap.dedent(program), str(folder)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def test_it_is_there_for_this_machine_alone_until_nobody_uses_it(self, tmp_path: Path) -> None:
        """No process and no port is left when the context is."""
        with services.running(self.wanted, tmp_path) as variables:
            port = port_of(variables)
            assert answers(port)
            open_to = [
                connection.laddr.ip
                for process in at_work(tmp_path)
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            ]
            assert set(open_to) == {"127.0.0.1"}
        assert not answers(port)
        assert at_work(tmp_path) == []
        assert services.settle(tmp_path) == []

    def test_what_it_holds_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        """Its files, and what is asked without the secret."""
        with services.running(self.wanted, tmp_path / "new") as variables:
            self.write(variables, "name", b"value")
            assert self.is_refused(variables)
            assert (tmp_path / "new").stat().st_mode & 0o077 == 0
            secret = connection_of(variables)["password"]
            for process in at_work(tmp_path):
                assert secret not in " ".join(process.cmdline())

    def test_folders_have_nothing_in_common(self, tmp_path: Path) -> None:
        """Each has a server of its own."""
        with (
            services.running(self.wanted, tmp_path / "one") as one,
            services.running(self.wanted, tmp_path / "two") as two,
        ):
            assert port_of(one) != port_of(two)

    def test_what_it_held_is_there_again(self, tmp_path: Path) -> None:
        """Also in a folder with a blank in its name."""
        with services.running(self.wanted, tmp_path / "a blank") as variables:
            self.write(variables, "name", b"value" * 100_000)
        with services.running(self.wanted, tmp_path / "a blank") as variables:
            assert self.read(variables, "name") == b"value" * 100_000

    def test_processes_share_it_and_the_last_one_ends_it(self, tmp_path: Path) -> None:
        """Whoever came first."""
        with self.user(tmp_path) as first:
            variables = said_by(first)
            with (
                services.running(self.wanted, tmp_path) as mine,
                services.joined(self.wanted, tmp_path) as same,
            ):
                assert mine == same == variables
                first.communicate("\n")
                assert services.settle(tmp_path) != []
                self.write(mine, "name", b"value")
            assert at_work(tmp_path) == []
        with services.joined(self.wanted, tmp_path) as none:
            assert none == {}

    def test_those_who_start_it_at_the_same_moment_get_the_same(self, tmp_path: Path) -> None:
        """One of them wins."""
        with contextlib.ExitStack() as stack:
            users = [stack.enter_context(self.user(tmp_path)) for _ in range(4)]
            said = [said_by(process) for process in users]
            assert said == [said[0]] * 4 and answers(port_of(said[0]))
        assert eventually(lambda: at_work(tmp_path) == [])

    def test_it_ends_with_its_user_even_if_that_one_is_killed(self, tmp_path: Path) -> None:
        """And what was written is there."""
        with self.user(tmp_path) as process:
            variables = said_by(process)
            self.write(variables, "name", b"value")
            os.kill(process.pid, signal.SIGKILL)
        assert eventually(lambda: at_work(tmp_path) == [])
        with services.running(self.wanted, tmp_path) as variables:
            assert self.read(variables, "name") == b"value"

    def test_it_gets_over_being_killed(self, tmp_path: Path) -> None:
        """It is at the same place again, with what was written."""
        with services.running(self.wanted, tmp_path) as variables:
            self.write(variables, "name", b"value")
            (server,) = [process for process in at_work(tmp_path) if process.cwd() != str(tmp_path)]
            server.kill()
            assert eventually(lambda: not server.is_running())
            assert eventually(lambda: answers(port_of(variables)))
            assert eventually(lambda: self.survived(variables))
        assert at_work(tmp_path) == []

    def survived(self, variables: Mapping[str, str]) -> bool:
        """Whether the value is read by a server that has just come up."""
        try:
            return self.read(variables, "name") == b"value"
        except Exception:
            return False

    def test_the_next_one_clears_away_what_a_killed_keeper_left(self, tmp_path: Path) -> None:
        """The server, which holds the data."""
        with services.running(self.wanted, tmp_path) as variables:
            self.write(variables, "name", b"value")
            left = at_work(tmp_path)
            (lock,) = tmp_path.glob("*.lock")
            scratch = Path(lock.read_text().partition(" ")[2])
            assert scratch.is_dir()
            for process in left:
                if process.cwd() == str(tmp_path):
                    process.kill()
                    assert eventually(lambda: len(at_work(tmp_path)) == 1)
            with services.running(self.wanted, tmp_path) as again:
                assert again == variables, "the first user goes on with it"
                assert self.read(variables, "name") == b"value"
        with services.running(self.wanted, tmp_path) as variables:
            assert self.read(variables, "name") == b"value"
            assert not any(process.is_running() for process in left)
            assert not scratch.exists()
        assert at_work(tmp_path) == []

    def test_it_does_not_hold_up_who_removes_its_folder(self, tmp_path: Path) -> None:
        """It ends, though somebody uses it."""
        with self.user(tmp_path / "folder") as process:
            assert said_by(process)
            (tmp_path / "folder").rename(tmp_path / "removed")
            assert eventually(lambda: at_work(tmp_path) == [])
