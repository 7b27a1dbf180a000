"""Task instances as processes of their own, which stand still before each step; and Airflow 3.4 between them.

The test's process is Airflow: it has the rows, by task instance and key, decides which process takes its next
step, and answers what a supervisor is asked. What the processes run stands here: they can't import tests.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import comms, task_runner
from structlog.contextvars import bind_contextvars

from exclusive_xcom.errors import XComError
from exclusive_xcom.redis import RedisXComBackend
from exclusive_xcom.redis.store import RedisStore
from exclusive_xcom.s3 import S3Store, S3XComBackend

# A server that has imported what takes long, and used no store yet, forks the processes.
_NEW = multiprocessing.get_context("forkserver")
_NEW.set_forkserver_preload(
    [
        "airflow.providers.redis.hooks.redis",
        "airflow.sdk.execution_time.supervisor",
        "airflow.sdk.execution_time.task_runner",
        "exclusive_xcom.codecs.structured",
        "exclusive_xcom.redis.store",
        "exclusive_xcom.s3.login",
        "obstore.store",
        "pytest",
    ]
)

RUN: dict[str, Any] = {"dag_id": "orders", "run_id": "run 1"}
LOOP = uuid.UUID(int=9)
LOST = TimeoutError("no answer came")


@dataclass(frozen=True)
class Instance:
    """A task instance: a try of the task "once", or one of a turn of the task "round", which is in a loop."""

    task_id: str
    turn: int | None = None
    number: int = 1
    id: uuid.UUID = field(default_factory=uuid.uuid4)

    @property
    def whose(self) -> dict[str, Any]:
        """The address that it has in common with the others."""
        return {**RUN, "task_id": self.task_id, "map_index": -1}

    def ran(self) -> Any:
        """As Airflow's runner has it."""
        place = {"region_id": None if self.turn is None else LOOP, "region_index": self.turn}
        return SimpleNamespace(**self.whose, **place, id=self.id, try_number=self.number)


# -- in a process ---------------------------------------------------------------------------------------

_line: Connection


def _stand(at: str, what: Any = None) -> Any:
    """Stand still; what the test answers where it lets the process go on."""
    _line.send((at, what))
    return _line.recv()


class _Stands:
    """A store that stands still between what is put and its commit."""

    def commit(self, stored: Any, ref: Any) -> None:
        _stand("commit")
        super().commit(stored, ref)  # type: ignore[misc]


class _Redis(_Stands, RedisStore):
    pass


class _S3(_Stands, S3Store):
    pass


class SteppedRedis(RedisXComBackend):
    """Stands still. A lease that nobody renews ends soon: whoever was killed holds nobody up."""

    @classmethod
    @functools.cache
    def store(cls) -> RedisStore:
        """The server behind AIRFLOW__XCOM__CONN_ID."""
        return _Redis(os.environ["AIRFLOW__XCOM__CONN_ID"], lease=0.05)


class SteppedS3(S3XComBackend):
    """The same over objects."""

    @classmethod
    def store(cls) -> S3Store:
        """Below AIRFLOW__XCOM__URL."""
        return _S3()


class _Supervisor:
    """What the process sees of Airflow."""

    def send(self, msg: Any) -> Any:
        if type(msg).__name__ == "MaskSecret":
            return None
        answer = _stand("ask", msg)
        if isinstance(answer, comms.ErrorResponse):
            raise AirflowRuntimeError(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(line: Connection, backend: Any, instance: Instance, environment: dict[str, str]) -> None:
    """Do one call after the other, and say how each has ended."""
    global _line
    _line = line
    os.environ.update(environment)
    from airflow.sdk.execution_time import xcom

    xcom.XCom = backend
    task_runner.SUPERVISOR_COMMS = _Supervisor()  # type: ignore[assignment]
    bind_contextvars(ti_id=str(instance.id), try_number=instance.number, **instance.whose)
    calls: dict[str, Callable[..., Any]] = {
        "push": functools.partial(backend._push, instance.ran()),
        "set": backend.set,
        "delete": backend.delete,
        "pull": backend.get_one,
        "pull all": backend.get_all,
    }
    while True:
        name, arguments, options = line.recv()
        try:
            line.send(("done", calls[name](*arguments, **options)))
        except (XComError, TimeoutError) as error:
            line.send(("failed", type(error).__name__))


# -- in the test ----------------------------------------------------------------------------------------


@dataclass
class Process:
    """A process that runs a task instance, and where it stands: "idle", at a "commit", or with a message that
    it "ask"s Airflow; that has been "answered" where the answer is still on its way."""

    instance: Instance
    backend: Any
    at: str = "idle"
    told: Any = None  # the message, or what a call has given
    answer: Any = None
    value: Any = None  # what is pushed
    name: str = ""  # of the call under way

    def __post_init__(self) -> None:
        self._line, theirs = _NEW.Pipe()
        ours = {name: text for name, text in os.environ.items() if name.startswith("AIRFLOW")}
        what = (theirs, self.backend, self.instance, ours)
        self._process = _NEW.Process(target=_serve, args=what, daemon=True)
        self._process.start()
        theirs.close()

    def call(self, name: str, *arguments: Any, **options: Any) -> None:
        """Begin, up to where it stands still for the first time."""
        self.name = name
        self._line.send((name, arguments, options))
        self._hear()

    def go_on(self, answer: Any = None) -> None:
        """Let it take its next step, with an answer if it has asked."""
        self._line.send(answer)
        self._hear()

    def end(self) -> None:
        """At once (SIGKILL)."""
        self._process.kill()
        self._process.join()
        self._line.close()
        self.at = "dead"

    def _hear(self) -> None:
        assert self._line.poll(60), f"{self.name} of {self.instance} is stuck"
        self.at, self.told = self._line.recv()


@dataclass
class Request:
    """A message to Airflow, of a task instance, and the value that its row stands for."""

    sender: Instance
    msg: Any
    value: Any


class Airflow:
    """Rows by task instance and key, each with the value that it stands for; and who is the current try."""

    def __init__(self) -> None:
        self.live: dict[tuple[str, int | None], Instance] = {}
        self.rows: dict[tuple[Instance, str], tuple[Any, Any]] = {}

    def begin(self, instance: Instance) -> None:
        """It is the current one from now on, and the try before it is archived with its rows."""
        self.live[instance.task_id, instance.turn] = instance

    def is_live(self, instance: Instance) -> bool:
        """Whether no later try has begun."""
        return self.live[instance.task_id, instance.turn] is instance

    def turns(self) -> list[Instance]:
        """The current tries of all turns."""
        return [self.live[place] for place in sorted(p for p in self.live if p[1] is not None)]

    def handle(self, request: Request) -> Any:
        """The api-server's side, with its answer. See `execution_api/routes/xcoms.py`."""
        sender, msg, kind = request.sender, request.msg, type(request.msg).__name__
        if sender.task_id != "reads" and not self.is_live(sender):
            message = "Task Instance not found in the working set; its attempt has been archived"
            detail = {"status_code": 410, "detail": {"detail": {"message": message}}}
            return comms.ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail)
        if kind == "GetXComSequenceSlice":
            rows = [self.rows[turn, msg.key][0] for turn in self.turns() if (turn, msg.key) in self.rows]
            return comms.XComSequenceSliceResult(root=rows)
        owner = sender if sender.task_id == msg.task_id else self.live[msg.task_id, None]
        if kind == "SetXCom":
            self.rows[owner, msg.key] = json.loads(json.dumps(msg.value)), request.value
        elif kind == "DeleteXCom":
            self.rows.pop((owner, msg.key), None)
        elif kind == "GetXCom":
            return comms.XComResult(key=msg.key, value=self.rows.get((owner, msg.key), (None,))[0])
        return comms.OKResponse(ok=True)
