"""Talks to Redis or Valkey through an Airflow connection, and tells its failures in this project's errors.

Commands go out in pipelines, one round trip each, and are sent again when the connection is lost. So every
command and script that is sent through here can be repeated without harm.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from ..connections import connection
from ..errors import StoreDenied, StoreError, StoreMisconfigured, StoreUnreachable, XComError, refused

T = TypeVar("T")
Command = Sequence[Any]
OTHER_PROGRAM = (
    "Another program writes below the same prefix. Give this project one of its own (AIRFLOW__XCOM__PREFIX), "
    "and run the task again."
)
WAIT_TIMEOUT = 5.0  # seconds that WAIT and WAITAOF may take
PATIENCE = 15.0  # seconds in which a server that is being restarted may come back


class Call(NamedTuple):
    """One run of a Lua script, as a command of a pipeline; by its digest once the server has it."""

    script: str
    keys: Sequence[str]
    arguments: Sequence[Any]

    def command(self, known: bool) -> Command:
        """The command that runs it on a server that knows it, or does not."""
        how = ("EVALSHA", _digest(self.script)) if known else ("EVAL", self.script)
        return (*how, len(self.keys), *self.keys, *self.arguments)


@functools.cache
def _digest(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


class Patience:
    """The pauses between tries, each about half as long again as the one before, until the time is over."""

    def __init__(self, seconds: float, longest: float = 0.2) -> None:
        self._end, self._pause, self._longest = time.monotonic() + seconds, 0.02, longest

    def pause(self) -> float:
        """Seconds until the next try, not the same for all who wait; 0 when there is no time for one."""
        pause, self._pause = self._pause, min(self._pause * 1.5, self._longest)
        return max(0.0, min(self._end - time.monotonic(), pause * (0.5 + secrets.randbelow(1000) / 1000)))


class Server:
    """The server that an Airflow connection leads to. The client is made on first use, one per process."""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self._clients: dict[int, Any] = {}
        self._known: set[str] = set()
        self._secret: str | None = None  # the connection's password

    @property
    def client(self) -> Any:
        """The library's client. Raises `StoreError`, and for a cluster what the library raises."""
        # A forked child (LocalExecutor) must not write to its parent's connections.
        clients = self._clients
        if (process := os.getpid()) not in clients:
            client, self._secret = _connect(self.conn_id)
            self._clients = clients = {process: client}
        return clients[process]

    @property
    def is_cluster(self) -> bool:
        """Whether the connection says that it leads to a cluster."""
        return bool(self.ask(lambda client: hasattr(client, "get_primaries")))

    @property
    def line(self) -> str:
        """Whether others on the line to the server could read along, for people. Raises `StoreError`."""
        return str(self.ask(lambda client: _line_in_words(client, self.conn_id)))

    def run(
        self, *commands: Command | Call, last_may_fail: bool = False, patience: float | None = None
    ) -> list[Any]:
        """Send commands in one round trip; their raw replies in order, of which the last may be an error if
        it may fail. Raises `StoreError` if one failed, or as `ask` does, which explains `patience`."""
        from redis.exceptions import NoScriptError

        def send(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                if isinstance(command, Call):
                    command = command.command(command.script in self._known)
                pipeline.execute_command(*command)
            return list(pipeline.execute(raise_on_error=False))

        replies = self.ask(send, patience)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # The server was restarted, or its scripts were flushed, since we sent them.
            self._known.clear()
            replies = self.ask(send, patience)
        self._known.update(command.script for command in commands if isinstance(command, Call))
        for reply in replies[:-1] if last_may_fail else replies:
            if isinstance(reply, Exception):
                raise failure(reply, self.conn_id, self._secret) from None
        return replies

    def ask(self, question: Callable[[Any], T], patience: float | None = None) -> T:
        """What a function gives that is called with the library's client, again and again while the server
        does not answer, for so many seconds (PATIENCE if not given). Raises `StoreError`."""
        left = Patience(PATIENCE if patience is None else patience, longest=2.0)
        while True:
            try:
                return question(self.client)
            except Exception as error:
                told = failure(error, self.conn_id, self._secret)
                if not (isinstance(told, StoreUnreachable) and (pause := left.pause())):
                    raise told from None  # the library's own text may quote the password
                time.sleep(pause)


def _connect(conn_id: str) -> tuple[Any, str | None]:
    """A client for an Airflow connection of type redis, and the password in it. The provider's hook knows of
    TLS, user and password, db and cluster; with "sentinel_master" in the extra, it is found by Sentinel."""
    from airflow.providers.redis.hooks.redis import RedisHook

    found = connection(conn_id, "redis://user:password@host:6379/0")
    hook: Any = RedisHook(redis_conn_id=conn_id)
    hook.get_connection = lambda conn_id: found  # asking Airflow a second time costs milliseconds
    client, extra = hook.get_conn(), found.extra_dejson
    if extra.get("cluster"):
        return client, found.password
    client.connection_pool.connection_kwargs.update(_line())
    return _by_sentinel(client, extra) if extra.get("sentinel_master") else client, found.password


def _line_in_words(client: Any, conn_id: str) -> str:
    """What a client's connection says of TLS; a cluster's nodes have the settings of one."""
    from redis.connection import SSLConnection

    nodes = getattr(client, "get_primaries", None)
    pool = (nodes()[0].redis_connection if nodes else client).connection_pool
    if not issubclass(pool.connection_class, SSLConnection):
        return f'NOT encrypted: connection {conn_id!r} has no TLS ("ssl": true in its extra)'
    unchecked = pool.connection_kwargs.get("ssl_cert_reqs") in ("none", None, 0)
    return f"connection {conn_id!r} is encrypted" + (
        ", and its certificate is not checked" if unchecked else ""
    )


def _line() -> dict[str, Any]:
    """How a connection behaves. `ask` repeats, since the library's own repetitions multiply."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    retry = Retry(NoBackoff(), 0)
    return {"socket_timeout": WAIT_TIMEOUT + 3, "socket_connect_timeout": 5.0, "retry": retry}


def _by_sentinel(client: Any, extra: dict[str, Any]) -> Any:
    """A client that asks the Sentinel at the connection's host and port, or one of "sentinels", for the
    master, with the credentials and TLS settings of `client`."""
    from redis.connection import SSLConnection
    from redis.sentinel import Sentinel

    settings = dict(client.connection_pool.connection_kwargs)
    nodes = [(settings.pop("host"), settings.pop("port"))]
    for node in filter(None, str(extra.get("sentinels", "")).split(",")):
        host, _, port = node.strip().rpartition(":")
        nodes.append((host, int(port)))
    tls = issubclass(client.connection_pool.connection_class, SSLConnection)
    sentinel: Any = Sentinel  # untyped in the library
    return sentinel(nodes, sentinel_kwargs=_line()).master_for(extra["sentinel_master"], ssl=tls, **settings)


# -- failures ---------------------------------------------------------------------------------------

# What the library and the server say, and what that means. A script's error carries it somewhere inside.
_MEANINGS: dict[type[StoreError], dict[str, str]] = {
    StoreDenied: {
        "AuthenticationError|AuthorizationError": "Redis refused the user or password. Correct login and "
        "password of the connection; without a user's name, the password is that of the user `default`.",
        "NOPERM|NoPermissionError": "Redis does not allow this user an operation that is needed. "
        "docs/redis.md lists what its ACL has to allow. `xcom probe` tells more.",
    },
    StoreMisconfigured: {
        "ImportError": "The libraries for Redis are not installed here. Add them, by "
        "`make add PACKAGES='exclusive-xcom[redis]'` in the project, and install it anew where "
        "this task runs.",
        "^ValueError": "The extra of the Airflow connection is wrong. Correct it.",
        "OOM ": "Redis is full: it has reached its maxmemory. Nothing that was there is lost. Give it more "
        "memory, keep values for a shorter time (AIRFLOW__XCOM__RETENTION), or keep large ones in an object "
        "store: `make switch BACKEND=s3`.",
        "READONLY": "Redis refuses to write: this is a read-only replica. Point the Airflow connection to "
        "the primary, or to a Sentinel (`sentinel_master` in its extra).",
        "WAITAOF": "AIRFLOW__XCOM__WAIT_AOF demands an append-only file, and Redis has none or is older "
        "than 7.2. Turn on appendonly in the server, or set the option to 0. The value was not kept.",
        "NOREPLICAS": "Redis refuses to write: too few of its replicas are there (min-replicas-to-write). "
        "Bring the replicas back, then run the task again.",
        "MISCONF": "Redis refuses to write, because it can't save its data. Look into its log and at its "
        "disk, then run the task again.",
        "MOVED ": 'Redis is a cluster, and the Airflow connection does not say so. Put {"cluster": true} '
        "into the connection's extra.",
        "unknown command": "Redis does not know a command that is needed. Use Redis 6.2 or newer, or "
        "Valkey, without renamed commands. `xcom probe` tells more.",
        "WRONGTYPE": f"A key of this project's holds something of another type. {OTHER_PROGRAM}",
    },
    StoreUnreachable: {
        "ClusterDownError": "The Redis cluster is down: a part of its keys has no server. Repair the "
        "cluster, then run the task again.",
        "ConnectionError|TimeoutError|OSError|RedisClusterException": "Redis does not answer. Check that it "
        "runs, and the connection's host, port and TLS settings (`ssl` in its extra). Run the task again "
        "when Redis is back.",
    },
    StoreError: {"": "Redis failed. `xcom probe` may tell more."},
}
# A server that does not know a command quotes what came with it: of HELLO, user and password.
_SENT = re.compile(r"(?is)(unknown command\W*\w*).*|\W*with args.*")
_REFUSALS = [(sign, kind, text) for kind, texts in _MEANINGS.items() for sign, text in texts.items()]


def failure(error: Exception, conn_id: str, secret: str | None = None) -> XComError:
    """The error of ours for an error of the client library: what happened, and what to do about it."""
    if isinstance(error, XComError):
        return error
    said = f"{getattr(error, 'status_code', None) or ''} {error}".strip()
    said = _SENT.sub(r"\1", said)
    if secret:  # a proxy may quote it in words of its own
        said = said.replace(secret, "***")
    names = " ".join(kind.__name__ for kind in type(error).__mro__)
    return refused(_REFUSALS, f"{names}: {said}", f" (Airflow connection {conn_id!r}: {said})")
