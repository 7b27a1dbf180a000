"""Named leases for task authors: one holder at a time, across tasks, runs and machines (needs Redis).

    with lock("daily-report", timeout=10, wait=60) as lease:
        ...                                # renewed in the background for as long as this takes
        lease.check()                      # still ours, and for 10 s more? right before writing outside
        write(report, fence=lease.fence)   # lets the receiver refuse a holder that came before

or as a decorator under `@task`. A lease serialises; it can't stop a holder that was frozen for longer than
`timeout` and wakes up late. `check` notices that, and `fence` lets others notice it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import attempt as attempts
from .errors import LeaseLost, LeaseTimeout, StoreError, StoreMisconfigured
from .redis.client import Call, Script, Server
from .redis.keys import prefix, quoted
from .redis.scripts import FENCE, RELEASE

log = logging.getLogger(__name__)

_POLL = 0.1  # seconds between two tries to get a lease, about
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Lease:
    """A lease that is held. `fence` is greater than that of every holder before."""

    def __init__(self, lock: _Lock, fence: int) -> None:
        self.name = lock.name
        self.fence = fence
        self._lock = lock
        self._lost = threading.Event()
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name=f"lease {self.name}", daemon=True)
        self._renewer.start()

    def check(self) -> None:
        """Ask the server; when this returns, the lease is ours for `timeout` seconds from when we asked.

        Raises:
            LeaseLost: it ran out. Somebody else may be at work: stop.
            StoreError: the server can't be asked.
        """
        if self._lost.is_set() or not self._lock.extend():
            self._lost.set()
            raise self._loss()

    def _renew(self) -> None:
        while not self._over.wait(self._lock.timeout / 3):
            try:
                if not self._lock.extend():
                    self._lost.set()
                    log.error("%s", self._loss())
                    return
            except StoreError as error:
                log.warning("The lease %r was not renewed, which is tried again: %s", self.name, error)

    def _end(self) -> None:
        """Stop renewing and give the lease back. Raises `LeaseLost` if it was not ours until now."""
        self._over.set()
        self._renewer.join()
        if not self._lock.release() or self._lost.is_set():
            raise self._loss()

    def _loss(self) -> LeaseLost:
        return LeaseLost(
            f"The lease {self.name!r} ran out while it was held, so somebody else may have worked meanwhile",
            f"This process, or Redis, stood still for more than {self._lock.timeout:g} s. Check what was "
            "done; a longer timeout= makes this rarer.",
        )

    def __repr__(self) -> str:
        return f"<Lease {self.name!r}, fence {self.fence}>"


class lock:
    """Hold the lease `name` for a block, or for the calls of a function; both may be asynchronous.

    Args:
        name: what is to be changed by one holder at a time. The same name is the same lease everywhere.
        timeout: seconds that the lease outlives its holder when that is killed; renewed every third of it.
        wait: seconds to wait while somebody else holds it.

    Raises:
        LeaseTimeout: somebody else held it all that time; the text says who.
        LeaseLost: at the end, if it was lost before.
        StoreMisconfigured: this project hands XComs over without Redis.
        StoreError: Redis can't be used.
    """

    def __init__(self, name: str, timeout: float = 10, wait: float = 60) -> None:
        if not name or timeout < 0.1 or wait < 0:
            raise ValueError("a lease needs a name, a timeout of at least 0.1 s, and a wait of 0 s or more")
        self.name, self.timeout, self.wait = name, timeout, wait
        self._lease: Lease | None = None

    def __enter__(self) -> Lease:
        lock, give_up = self._lock(), time.monotonic() + self.wait
        while (lease := lock.take()) is None:
            time.sleep(lock.pause(give_up))
        self._lease = lease
        return lease

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        lease, self._lease = self._lease, None
        assert lease is not None
        try:
            lease._end()
        except StoreError as trouble:
            if error is None:
                raise
            log.error("%s", trouble)  # the block's own error tells more

    async def __aenter__(self) -> Lease:
        lock, give_up = self._lock(), time.monotonic() + self.wait
        while True:
            # The event loop goes on meanwhile. When we are cancelled, what the thread got is given back.
            taking = asyncio.ensure_future(asyncio.to_thread(lock.take))
            try:
                lease = await asyncio.shield(taking)
                if lease is None:
                    await asyncio.sleep(lock.pause(give_up))
            except asyncio.CancelledError:
                taking.add_done_callback(_give_back)
                raise
            if lease is not None:
                self._lease = lease
                return lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)

    def __call__(self, function: _Function) -> _Function:
        """Decorate a function: each call holds the lease."""

        def fresh() -> lock:
            return lock(self.name, self.timeout, self.wait)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def held(*args: Any, **kwargs: Any) -> Any:
                async with fresh():
                    return await function(*args, **kwargs)

        else:

            @functools.wraps(function)
            def held(*args: Any, **kwargs: Any) -> Any:
                with fresh():
                    return function(*args, **kwargs)

        return held  # type: ignore[return-value]

    def _lock(self) -> _Lock:
        if self._lease is not None:
            raise RuntimeError(f"This lock({self.name!r}) is in use; make another one for another block")
        from .redis import RedisXComBackend, is_current_backend

        if not is_current_backend():
            raise StoreMisconfigured(
                f"lock({self.name!r}) needs Redis, and this project hands XComs over without it",
                "Switch to Redis: `make switch BACKEND=redis`.",
            )
        return _Lock(RedisXComBackend.store().server, self.name, self.timeout, self.wait)


class _Lock:
    """The lease on the server, for one who wants it or holds it: redis-py's lock, numbered by our script."""

    def __init__(self, server: Server, name: str, timeout: float, wait: float) -> None:
        from .redis.store import retention_ms

        self.name, self.timeout, self._wait = name, timeout, wait
        self._server = server
        self._keys = [f"{prefix()}/lock/{{{quoted(name)}}}", f"{prefix()}/lock/{{{quoted(name)}}}/fence"]
        self._token = json.dumps(_who())
        self._retention = retention_ms()
        # Renewed by one thread and checked by others, which all have to know the token.
        self._lock = server.ask(
            lambda client: client.lock(self._keys[0], timeout=timeout, thread_local=False)
        )

    def take(self) -> Lease | None:
        """The lease if it is free, or ours already because only the server's reply was lost."""
        if not self._server.ask(lambda client: self._lock.acquire(blocking=False, token=self._token)):
            if self._holder() != self._token:
                return None
            self._lock.local.token = self._token.encode()
        fence = self._run(FENCE)
        return Lease(self, fence) if fence else None  # 0: it ran out between the two requests

    def pause(self, give_up: float) -> float:
        """Seconds until the next try. Raises `LeaseTimeout` when there is no time for one."""
        left = give_up - time.monotonic()
        if left > 0:
            return min(left, _POLL * (0.5 + secrets.randbelow(1000) / 1000))
        from .redis.store import in_words

        raise LeaseTimeout(
            f"The lease {self.name!r} was not free for {self._wait:g} s: it is held by "
            f"{in_words(self._holder())}",
            "Wait longer (wait=), or let the holder do less while it holds it.",
        )

    def extend(self) -> bool:
        """Make it last `timeout` seconds from now; whether it was still ours."""
        from redis.exceptions import LockNotOwnedError

        def extend(client: Any) -> bool:
            try:
                return bool(self._lock.reacquire())
            except LockNotOwnedError:
                return False

        return bool(self._server.ask(extend))

    def release(self) -> bool:
        """Give it back; whether it was still ours."""
        return bool(self._run(RELEASE))

    def _holder(self) -> str:
        found = self._server.run(("GET", self._keys[0]))[0]
        return found.decode() if found is not None else ""

    def _run(self, script: Script) -> int:
        return int(self._server.run(Call(script, self._keys, [self._token, self._retention]))[0])


def _who() -> dict[str, Any]:
    from .redis.store import identity

    names = ("AIRFLOW_CTX_DAG_ID", "AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID")
    dag_id, task_id, run_id = (os.environ.get(name, "") for name in names)
    return {"task": f"{dag_id}.{task_id}, run {run_id}" if dag_id else "", **identity(attempts.current())}


def _give_back(taking: asyncio.Future[Lease | None]) -> None:
    """Release a lease that arrived when nobody waited for it any more."""
    if not taking.cancelled() and taking.exception() is None and (lease := taking.result()) is not None:
        threading.Thread(target=lease._end, daemon=True).start()
