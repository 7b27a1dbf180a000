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
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import attempt as attempts
from .errors import LeaseLost, LeaseTimeout, StoreError, StoreMisconfigured
from .redis.client import Patience
from .redis.keys import lock_key
from .redis.leases import ServerLease, identity, in_words
from .redis.store import RedisStore
from .store import current_store

log = logging.getLogger(__name__)

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Lease:
    """A lease that is held. `fence` is greater than that of every holder before."""

    def __init__(self, wanted: lock, kept: ServerLease) -> None:
        self.name = wanted.name
        self.fence = 0
        self._kept, self._wait, self._patience = kept, wanted.wait, Patience(wanted.wait)
        self._lost, self._over = threading.Event(), threading.Event()
        self._renewer = threading.Thread(target=self._renew, name=f"lease {self.name}", daemon=True)

    def _take(self) -> float:
        """Get it if it is free, and renew it from then on: 0, or the seconds to wait before the next try.
        Raises `LeaseTimeout` when there is no time for one, and `StoreError`."""
        self.fence, holder = self._kept.take_number()
        if self.fence:
            self._renewer.start()
            return 0
        if pause := self._patience.pause():
            return pause
        what = f"The lease {self.name!r} was not free for {self._wait:g} s: it is held by {in_words(holder)}"
        raise LeaseTimeout(what, "Wait longer (wait=), or let the holder do less while it holds it.")

    def check(self) -> None:
        """Ask the server; when this returns, the lease is ours for `timeout` seconds from when we asked.
        Raises `LeaseLost` if it ran out (somebody else may be at work: stop), `StoreError` if nobody can be
        asked."""
        if self._lost.is_set() or self._kept.ask("renew")[1] != self._kept.holder:
            self._lost.set()
            raise self._loss()

    def _renew(self) -> None:
        while not self._over.wait(self._kept.length / 3):
            try:
                self.check()
            except LeaseLost as error:
                log.error("%s", error)
                return
            except StoreError as error:
                log.warning("The lease %r was not renewed, which is tried again: %s", self.name, error)

    def _end(self) -> None:
        """Stop renewing and give the lease back. Raises `LeaseLost` if it was not ours until now."""
        self._over.set()
        self._renewer.join()
        if not self._kept.server.run(self._kept.give_back())[0] or self._lost.is_set():
            raise self._loss()

    def _loss(self) -> LeaseLost:
        return LeaseLost(
            f"The lease {self.name!r} ran out while it was held, so somebody else may have worked meanwhile",
            f"This process, or Redis, stood still for more than {self._kept.length:g} s. Check what was "
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
        lease = self._wanted()
        while pause := lease._take():
            time.sleep(pause)
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
        lease, pause = self._wanted(), 1.0
        while pause:
            # The event loop goes on meanwhile. When we are cancelled, what the thread got is given back.
            taking = asyncio.ensure_future(asyncio.to_thread(lease._take))
            try:
                if pause := await asyncio.shield(taking):
                    await asyncio.sleep(pause)
            except asyncio.CancelledError:
                taking.add_done_callback(functools.partial(_give_back, lease))
                raise
        self._lease = lease
        return lease

    async def __aexit__(self, *problem: Any) -> None:
        await asyncio.to_thread(self.__exit__, *problem)

    def __call__(self, function: _Function) -> _Function:
        """Decorate a function: each call holds the lease."""
        if inspect.iscoroutinefunction(function):

            async def held(*args: Any, **kwargs: Any) -> Any:
                async with lock(self.name, self.timeout, self.wait):
                    return await function(*args, **kwargs)

        else:

            def held(*args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]
                with lock(self.name, self.timeout, self.wait):
                    return function(*args, **kwargs)

        return functools.wraps(function)(held)  # type: ignore[return-value]

    def _wanted(self) -> Lease:
        if self._lease is not None:
            raise RuntimeError(f"This lock({self.name!r}) is in use; make another one for another block")
        store = current_store()
        if not isinstance(store, RedisStore):
            raise StoreMisconfigured(
                f"lock({self.name!r}) needs Redis, and this project hands XComs over without it",
                "Switch to Redis: `make switch BACKEND=redis`.",
            )
        who = identity(attempts.current())
        return Lease(self, ServerLease(store.server, lock_key(self.name), who, self.timeout))


def _give_back(lease: Lease, taking: asyncio.Future[float]) -> None:
    """Release a lease that arrived when nobody waited for it any more."""
    if not taking.cancelled() and taking.exception() is None and not taking.result():
        threading.Thread(target=lease._end, daemon=True).start()
