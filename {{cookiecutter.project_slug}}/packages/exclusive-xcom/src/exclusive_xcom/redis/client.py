"""Talks to Redis or Valkey through an Airflow connection, and tells its failures in this project's errors.

Commands go out in pipelines, one round trip each, and are sent again when the connection is lost. So every
command and script that is sent through here can be repeated without harm.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ForeignReference, StoreDenied, StoreError, StoreMisconfigured, StoreUnreachable

Command = Sequence[Any]
WAIT_TIMEOUT = 5.0  # seconds that WAIT and WAITAOF may take
_SOCKET_TIMEOUT = WAIT_TIMEOUT + 3
_CONNECT_TIMEOUT = 5.0
PATIENCE = 15.0  # seconds in which a server that is being restarted may come back


@dataclass(frozen=True)
class Script:
    """A Lua script, run by its digest once the server has it."""

    text: str

    @property
    def sha1(self) -> str:
        """The digest by which the server knows it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Call:
    """One run of a script, as a command of a pipeline."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Any]


class Server:
    """The server that an Airflow connection leads to. The client is made on first use, one per process."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self._lock = threading.Lock()
        self._client: Any = None
        self._pid = 0
        self._known: set[Script] = set()

    @property
    def client(self) -> Any:
        """The library's client. Raises `StoreError`, and for a cluster what the library raises."""
        # A forked child (LocalExecutor) must not write to its parent's connections.
        if self._client is None or self._pid != os.getpid():
            with self._lock:
                if self._client is None or self._pid != os.getpid():
                    self._client, self._pid = _connect(self.conn_id), os.getpid()
        return self._client

    @property
    def is_cluster(self) -> bool:
        """Whether the connection says that it leads to a cluster."""
        return bool(self.ask(lambda client: hasattr(client, "get_primaries")))

    def run(self, *commands: Command | Call, last_may_fail: bool = False) -> list[Any]:
        """Send commands in one round trip; their raw replies in order.

        Args:
            commands: plain commands as the library takes them, and calls of scripts.
            last_may_fail: give the error of the last command as its reply instead of raising it.

        Raises:
            StoreError: one failed, or the server can't be reached.
        """
        from redis.exceptions import NoScriptError

        replies = self._send(commands)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # The server was restarted, or its scripts were flushed, since we sent them.
            self._known.clear()
            replies = self._send(commands)
        for reply in replies[:-1] if last_may_fail else replies:
            if isinstance(reply, Exception):
                raise failure(reply, self.conn_id) from reply
        return replies

    def ask(self, question: Callable[[Any], Any], *, patience: float | None = None) -> Any:
        """Call the library's client by a function, again and again while the server does not answer.

        Args:
            question: is given the client. It may be called more than once.
            patience: seconds after which no more call is begun; PATIENCE if not given.

        Raises:
            StoreError: the server refused, or never answered.
        """
        give_up, pause = time.monotonic() + (PATIENCE if patience is None else patience), 0.05
        while True:
            try:
                return question(self.client)
            except Exception as error:
                if not _is_passing(error) or time.monotonic() + pause > give_up:
                    raise failure(error, self.conn_id) from error
                time.sleep(pause)
                pause = min(2 * pause, 2.0)

    def _send(self, commands: Sequence[Command | Call]) -> list[Any]:
        def send(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                if isinstance(command, Call):
                    known = command.script in self._known
                    pipeline.execute_command(
                        "EVALSHA" if known else "EVAL",
                        command.script.sha1 if known else command.script.text,
                        len(command.keys),
                        *command.keys,
                        *command.arguments,
                    )
                else:
                    pipeline.execute_command(*command)
            return list(pipeline.execute(raise_on_error=False))

        replies: list[Any] = self.ask(send)
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(command, Call) and not isinstance(reply, Exception):
                self._known.add(command.script)
        return replies


def _connect(conn_id: str) -> Any:
    """A client for an Airflow connection of type redis, by the provider's hook.

    Beyond what the hook knows (TLS, user and password, db, cluster): with "sentinel_master" in the
    connection's extra, host and port are a Sentinel's, which is asked for the master of that name;
    "sentinels" may list more of them as "host:port,host:port".
    """
    try:
        from airflow.providers.redis.hooks.redis import RedisHook
    except ImportError as error:
        raise StoreMisconfigured(
            f"The libraries for Redis are not installed here ({error})", "Run `uv sync --extra redis`."
        ) from error
    try:
        connection = RedisHook.get_connection(conn_id)
    except Exception as error:
        raise StoreMisconfigured(
            f"Airflow has no usable connection {conn_id!r} ({error})",
            f"Define it: AIRFLOW_CONN_{conn_id.upper()}=redis://user:password@host:6379/0 in the "
            "environment, or under Admin → Connections. AIRFLOW__XCOM__CONN_ID says which one is used.",
        ) from error
    try:
        hook: Any = RedisHook(redis_conn_id=conn_id)
        hook.get_connection = lambda conn_id: connection  # asking Airflow a second time costs milliseconds
        client, extra = hook.get_conn(), connection.extra_dejson
        if extra.get("cluster"):
            return client
        client.connection_pool.connection_kwargs.update(_line())
        return _by_sentinel(client, extra) if extra.get("sentinel_master") else client
    except ValueError as error:  # the hook's own checks of the extra
        raise StoreMisconfigured(
            f"The Airflow connection {conn_id!r} is wrong: {error}", "Correct its extra."
        ) from error


def _line() -> dict[str, Any]:
    """How a connection behaves. `ask` repeats, since the library's own repetitions multiply."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_timeout": _SOCKET_TIMEOUT,
        "socket_connect_timeout": _CONNECT_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
    }


def _by_sentinel(client: Any, extra: dict[str, Any]) -> Any:
    """A client that asks Sentinel for the master, with the credentials and TLS settings of `client`."""
    from redis.connection import SSLConnection
    from redis.sentinel import Sentinel

    pool = client.connection_pool
    settings = dict(pool.connection_kwargs)
    nodes = [(settings.pop("host"), settings.pop("port"))]
    for node in str(extra.get("sentinels", "")).split(","):
        host, _, port = node.strip().rpartition(":")
        if host:
            nodes.append((host, int(port)))
    tls = issubclass(pool.connection_class, SSLConnection)
    sentinel: Any = Sentinel  # untyped in the library
    return sentinel(nodes, sentinel_kwargs=_line()).master_for(extra["sentinel_master"], ssl=tls, **settings)


# -- failures ---------------------------------------------------------------------------------------

# What the server's error says, and what that means. A script's error carries the text somewhere inside.
_REFUSALS: tuple[tuple[str, type[StoreError], str, str], ...] = (
    (
        "OOM ",
        StoreMisconfigured,
        "Redis is full: it has reached its maxmemory",
        "Nothing that was there is lost. Give it more memory, shorten AIRFLOW__XCOM__RETENTION, or keep "
        "large values in an object store: `make switch BACKEND=s3`.",
    ),
    (
        "READONLY",
        StoreMisconfigured,
        "Redis refuses to write: this is a read-only replica",
        "Point the Airflow connection to the primary, or to a Sentinel (`sentinel_master` in its extra).",
    ),
    (
        "WAITAOF",
        StoreMisconfigured,
        "AIRFLOW__XCOM__WAIT_AOF demands an append-only file, and Redis has none or is older than 7.2",
        "Turn on appendonly in the server, or set the option to 0. The value was written, but not its row.",
    ),
    (
        "NOREPLICAS",
        StoreMisconfigured,
        "Redis refuses to write: too few of its replicas are there (min-replicas-to-write)",
        "Bring the replicas back, then run the task again.",
    ),
    (
        "MISCONF",
        StoreMisconfigured,
        "Redis refuses to write, because it can't save its data",
        "Look into its log and at its disk, then run the task again.",
    ),
    (
        "MOVED ",
        StoreMisconfigured,
        "Redis is a cluster, and the Airflow connection does not say so",
        'Put {"cluster": true} into the connection\'s extra.',
    ),
    (
        "unknown command",
        StoreMisconfigured,
        "Redis does not know a command that is needed",
        "Use Redis 6.2 or newer, or Valkey, without renamed commands. `xcom probe` tells more.",
    ),
    (
        "NOPERM",
        StoreDenied,
        "Redis does not allow this user an operation that is needed",
        "README, section Redis, lists what its ACL has to allow. `xcom probe` tells more.",
    ),
    (
        "WRONGTYPE",
        StoreMisconfigured,
        "A key of this project's holds something of another type",
        "Another program writes below the same prefix. Give this project one of its own "
        "(AIRFLOW__XCOM__PREFIX).",
    ),
)


def _is_passing(error: Exception) -> bool:
    """Whether it may help to ask again: no answer, or the server is still loading its data."""
    from redis import exceptions as redis

    refused = redis.AuthenticationError | redis.AuthorizationError | redis.MaxConnectionsError
    lost = redis.ConnectionError | redis.TimeoutError | redis.ClusterDownError | OSError
    return isinstance(error, lost) and not isinstance(error, refused)


def failure(error: BaseException, conn_id: str) -> Exception:
    """The error of ours for an error of the client library: what happened, and what to do about it."""
    from redis import exceptions as redis

    if isinstance(error, StoreError | ForeignReference):
        return error
    said = f"{getattr(error, 'status_code', None) or ''} {error}".strip()
    where = f" (Airflow connection {conn_id!r}: {said})"
    if isinstance(error, redis.NoPermissionError):
        said = f"NOPERM {said}"
    elif isinstance(error, redis.AuthenticationError | redis.AuthorizationError):
        return StoreDenied(
            f"Redis refused the user or password{where}",
            "Correct login and password of the connection; without a user's name, the password is that of "
            "the user `default`.",
        )
    for sign, kind, what, advice in _REFUSALS:
        if sign in said:
            return kind(f"{what}{where}", advice)
    if isinstance(error, redis.ClusterDownError):
        return StoreUnreachable(
            f"The Redis cluster is down: a part of its keys has no server{where}",
            "Repair the cluster, then run the task again.",
        )
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError | redis.RedisClusterException):
        return StoreUnreachable(
            f"Redis does not answer{where}",
            "Check that it runs, and the connection's host, port and TLS settings (`ssl` in its extra). Run "
            "the task again when Redis is back.",
        )
    return StoreError(f"Redis failed{where}", "`xcom probe` may tell more.")
