"""Leases for task authors: one holder at a time, who learns of it when it is no longer the one."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import LockNotOwnedError
from redis_servers import Proxy, Valkey, connection, in_child

from exclusive_xcom.db import DbXComBackend
from exclusive_xcom.errors import LeaseLost, LeaseTimeout, StoreError, StoreMisconfigured
from exclusive_xcom.locks import Lease, lock
from exclusive_xcom.redis import RedisXComBackend


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A server for all tests of this file."""
    with Valkey() as server:
        yield server


@pytest.fixture(autouse=True)
def backend(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A project with Redis; gives a client that looks behind the scenes."""
    with connection(server.port) as conn_id:
        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", RedisXComBackend)
        monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
        client = server.client()
        yield client
        client.flushall()


class TestTheLineInAnArticle:
    """`with r.lock(k): r.set(k, v)`: why this project's leases are not kept at the key that they protect."""

    def test_it_destroys_its_own_lock(self, backend: Any) -> None:
        with pytest.raises(LockNotOwnedError), backend.lock("xcom:my_key", timeout=10):
            backend.set("xcom:my_key", "my_value")  # the lock is kept at this very key

    def test_and_then_nobody_gets_it(self, backend: Any) -> None:
        with pytest.raises(LockNotOwnedError), backend.lock("xcom:my_key", timeout=10):
            backend.set("xcom:my_key", "my_value")
        assert not backend.lock("xcom:my_key", timeout=10).acquire(blocking_timeout=0.3)
        assert backend.ttl("xcom:my_key") == -1  # nor does it ever expire

    def test_with_a_key_of_its_own_it_still_lets_a_sleeper_write(self, backend: Any) -> None:
        sleeper, newer = backend.lock("lock", timeout=0.2), backend.lock("lock", timeout=10)
        assert sleeper.acquire()
        time.sleep(0.3)  # paused for longer than its lock lasts
        assert newer.acquire()
        backend.set("value", "newer")
        newer.release()
        backend.set("value", "older")  # nothing stops it
        assert backend.get("value") == b"older"
        with pytest.raises(LockNotOwnedError):
            sleeper.release()  # told too late


class TestHolding:
    """What a holder has."""

    def test_one_at_a_time(self) -> None:
        with lock("report"):
            with pytest.raises(LeaseTimeout), lock("report", wait=0.3):
                pass
            with lock("another"):
                pass
        with lock("report", wait=0):
            pass

    def test_who_waits_in_vain_is_told_who_holds_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "sales")
        monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "load")
        monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "manual__1")
        with (
            lock("daily report"),
            pytest.raises(LeaseTimeout) as caught,
            lock("daily report", wait=0),
        ):
            pass
        assert "'daily report'" in str(caught.value)
        assert f"sales.load, run manual__1, process {os.getpid()} on host" in str(caught.value)

    def test_a_name_may_be_anything(self) -> None:
        for name in ("{", "}{", "a/b", "größe", "* ?", "x" * 500):
            with lock(name) as lease:
                lease.check()

    def test_what_is_left_expires(self, backend: Any) -> None:
        with lock("report"):
            assert all(backend.ttl(name) > 0 for name in backend.scan_iter())
        assert [0 < backend.ttl(name) <= 7 * 86400 for name in backend.scan_iter()] == [True]  # its number

    def test_it_is_renewed_while_it_is_held(self) -> None:
        with lock("report", timeout=0.6) as lease:
            for _ in range(4):
                time.sleep(0.5)
                with pytest.raises(LeaseTimeout), lock("report", wait=0):
                    pass
            lease.check()

    def test_the_number_grows_with_every_holder(self, backend: Any) -> None:
        fences = []
        for turn in range(20):
            with lock("report") as lease:
                fences.append(lease.fence)
            if turn == 10:
                backend.flushall()  # even when Redis has forgotten everything
        assert fences == sorted(set(fences))

    def test_the_number_grows_when_the_clock_goes_back(self, backend: Any) -> None:
        with lock("report") as lease:
            before = lease.fence
        (kept,) = backend.scan_iter(match="*/fence")
        backend.hset(kept, "fence", before + 10**15)
        with lock("report") as lease:
            assert lease.fence == before + 10**15 + 1

    def test_an_error_inside_is_not_hidden_and_gives_it_back(self) -> None:
        with pytest.raises(ZeroDivisionError), lock("report"):
            print(1 / 0)
        with lock("report", wait=0):
            pass

    def test_not_even_by_the_loss_of_the_lease(self, backend: Any, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(ZeroDivisionError), lock("report"):
            backend.flushall()
            print(1 / 0)
        assert "'report' ran out" in caplog.text

    def test_one_that_is_in_use_can_not_be_used_again(self) -> None:
        one = lock("report")
        with one, pytest.raises(RuntimeError, match="in use"), one:
            pass
        with one:
            pass

    @pytest.mark.parametrize("wrong", [{"name": ""}, {"name": "x", "timeout": 0}, {"name": "x", "wait": -1}])
    def test_nonsense_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="lease"):
            lock(**wrong)


class TestLosing:
    """A holder that stood still learns that it has lost."""

    def test_after_sigstop_and_another_holder(self) -> None:
        def sleeper(here: Any) -> None:
            with lock("report", timeout=0.4) as lease:
                lease.check()
                here()
                try:
                    lease.check()
                except LeaseLost:
                    return
                raise AssertionError("the check was passed")

        with in_child(sleeper) as child:
            child.wait_until_it_calls()
            child.send(signal.SIGSTOP)
            child.let_go()
            with lock("report", timeout=10, wait=10) as lease:
                child.send(signal.SIGCONT)
                assert child.outcome().startswith("LeaseLost")  # at the end of its block
                lease.check()

    def test_its_number_is_the_smaller_one(self, tmp_path: Path) -> None:
        def sleeper(here: Any) -> None:
            with lock("report", timeout=0.4) as lease:
                (tmp_path / "fence").write_text(str(lease.fence))
                here()

        with in_child(sleeper) as child:
            child.wait_until_it_calls()
            child.send(signal.SIGSTOP)
            child.let_go()
            with lock("report", wait=10) as lease:
                assert lease.fence > int((tmp_path / "fence").read_text())
                child.send(signal.SIGCONT)
                child.outcome()

    def test_without_another_holder_too(self, backend: Any) -> None:
        with pytest.raises(LeaseLost, match="'report' ran out"), lock("report") as lease:
            (kept,) = (name for name in backend.scan_iter() if not name.endswith(b"/fence"))
            backend.delete(kept)
            with pytest.raises(LeaseLost):
                lease.check()

    def test_renewing_notices_and_check_remembers(
        self, backend: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(LeaseLost), lock("report", timeout=0.3) as lease:
            (kept,) = (name for name in backend.scan_iter() if not name.endswith(b"/fence"))
            backend.set(kept, "somebody else's", px=100)
            while "ran out" not in caplog.text:
                time.sleep(0.02)
            while backend.exists(kept):
                time.sleep(0.02)
            with pytest.raises(LeaseLost):
                lease.check()

    def test_kill_9_leaves_an_expiry_and_no_more(self, backend: Any) -> None:
        def work(here: Any) -> None:
            with lock("report", timeout=1):
                here()

        with in_child(work) as child:
            child.wait_until_it_calls()
            child.send(signal.SIGKILL)
            child.outcome()
        assert all(backend.ttl(name) > 0 for name in backend.scan_iter())
        with lock("report", wait=10):
            pass

    def test_a_server_that_dies_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("exclusive_xcom.redis.client.PATIENCE", 0.2)
        with Valkey() as mortal, connection(mortal.port) as conn_id:
            monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
            with pytest.raises(StoreError, match="does not answer"), lock("report") as lease:
                mortal.kill()
                with pytest.raises(StoreError, match="does not answer"):
                    lease.check()


class TestLostReplies:
    """A request whose reply is lost is repeated, and finds that it was carried out."""

    @pytest.mark.parametrize("step", range(1, 10))
    def test_to_hold_it_is_to_hold_it(
        self, server: Valkey, monkeypatch: pytest.MonkeyPatch, step: int
    ) -> None:
        with Proxy(server.port) as proxy, connection(proxy.port) as conn_id:
            monkeypatch.setenv("AIRFLOW__XCOM__CONN_ID", conn_id)
            lost = []

            def pass_reply(number: int) -> bool:
                if number == step:
                    lost.append(number)
                return number != step

            proxy.pass_reply = pass_reply
            with lock("report", wait=0) as lease:
                lease.check()
            with lock("report", wait=0):
                pass
            assert lost == [step]


class TestCounting:
    """The reason for all this: reading, changing and writing back by many, and nothing lost."""

    def test_many_processes_lose_no_change(self, tmp_path: Path) -> None:
        report = tmp_path / "report.json"
        report.write_text("[]")

        def work(number: int) -> None:
            for turn in range(5):
                with lock("report", wait=120) as lease:
                    lines = json.loads(report.read_text())
                    time.sleep(0.002)
                    lease.check()
                    report.write_text(json.dumps([*lines, [number, turn, lease.fence]]))

        children = []
        for number in range(12):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    work(number)
                    status = 0
                finally:
                    os._exit(status)
            children.append(pid)
        assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 12
        lines = json.loads(report.read_text())
        assert sorted((number, turn) for number, turn, _ in lines) == [
            (n, t) for n in range(12) for t in range(5)
        ]
        fences = [fence for *_, fence in lines]
        assert fences == sorted(set(fences))


class TestDecorator:
    """As a decorator, also under @task."""

    def test_each_call_holds_it(self, backend: Any) -> None:
        @lock("report")
        def work(number: int, *, more: str = "") -> str:
            """What it does."""
            with pytest.raises(LeaseTimeout), lock("report", wait=0):
                pass
            return f"{number}{more}"

        assert work(1, more="x") == "1x"
        assert work(2) == "2"
        assert (work.__name__, work.__doc__) == ("work", "What it does.")
        assert list(inspect.signature(work).parameters) == ["number", "more"]

    def test_of_a_coroutine_function(self) -> None:
        @lock("report")
        async def work() -> str:
            with pytest.raises(LeaseTimeout), lock("report", wait=0):
                pass
            return "done"

        assert inspect.iscoroutinefunction(work)
        assert asyncio.run(work()) == "done"

    def test_under_task(self) -> None:
        from airflow.sdk import task

        @task
        @lock("report", timeout=5, wait=5)
        def update(line: str) -> str:
            return line.upper()

        assert update.function("x") == "X"


class TestAsynchronous:
    """In coroutines, the event loop goes on while somebody waits."""

    def test_two_coroutines_take_turns(self) -> None:
        log: list[str] = []

        async def work(name: str) -> None:
            async with lock("report") as lease:
                assert isinstance(lease, Lease)
                log.append(f"{name} in")
                await asyncio.sleep(0.2)
                log.append(f"{name} out")

        async def both() -> None:
            await asyncio.gather(work("a"), work("b"))

        asyncio.run(both())
        assert log in (["a in", "a out", "b in", "b out"], ["b in", "b out", "a in", "a out"])

    def test_who_is_cancelled_while_waiting_leaves_nothing(self) -> None:
        async def wait() -> None:
            async with lock("report"):
                raise AssertionError("it was held")

        async def cancel() -> None:
            for _ in range(20):
                waiting = asyncio.ensure_future(wait())
                await asyncio.sleep(0.01)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting

        with lock("report"):
            asyncio.run(cancel())
        with lock("report", wait=1):
            pass

    def test_who_is_cancelled_while_getting_it_gives_it_back(self) -> None:
        async def hold() -> None:
            async with lock("report"):
                await asyncio.sleep(60)

        async def cancel() -> None:
            for turn in range(20):
                holding = asyncio.ensure_future(hold())
                await asyncio.sleep(0.0005 * turn)
                holding.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await holding
            await asyncio.sleep(0.2)

        asyncio.run(cancel())
        with lock("report", wait=2):
            pass


class TestElsewhere:
    """On the other backends, importing works and using says how to get it."""

    def test_using_it_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", DbXComBackend)

        @lock("report")
        def work() -> None:
            raise AssertionError("it ran")

        with pytest.raises(StoreMisconfigured, match="BACKEND=redis"):
            work()
        with pytest.raises(StoreMisconfigured, match="BACKEND=redis"), lock("report"):
            pass

    def test_importing_needs_no_library(self) -> None:
        import subprocess
        import sys

        modules = "exclusive_xcom.locks, exclusive_xcom.redis"
        program = f"import sys, airflow; sys.modules['redis'] = None; import {modules}"
        subprocess.run([sys.executable, "-c", program], check=True)


def test_redis_itself_is_not_shadowed_by_our_module() -> None:
    assert redis.__name__ == "redis" and hasattr(redis, "Redis")
