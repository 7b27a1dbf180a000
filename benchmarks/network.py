"""Networks between the measuring processes and the servers: each delays, has a wire's speed, and counts.

A proxy for TCP. What goes one way shares one wire with all connections, takes its time there, and arrives
half a round trip later. A new connection costs a round trip, as its handshake does. On one machine nothing of
this shows, and a backend that asks ten times is as fast as one that asks once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

WIRE = 125e6  # bytes a second: 1 Gbit/s
PIECE = 2**16  # bytes read at once
UNDERWAY = 64  # pieces of one connection, at most


@dataclass
class Wire:
    """One direction.

    Attributes:
        delay: seconds until what was sent arrives.
        free: when, by the loop's clock, what was sent before has left.
    """

    delay: float
    free: float = 0

    def arrival(self, size: int) -> float:
        """When a piece of so many bytes arrives that is sent now."""
        self.free = max(self.free, asyncio.get_running_loop().time()) + size / WIRE
        return self.free + self.delay


@dataclass
class Network:
    """A network with a round trip of so many seconds, by which a server is reached.

    Attributes:
        turns: how often somebody has waited for an answer and then asked again. What goes out without
            waiting, as the pieces of a pipeline do, is one turn: the next one can't begin before a round trip
            is over.
    """

    trip: float
    turns: int = 0
    _there: Wire = field(init=False)
    _back: Wire = field(init=False)

    def __post_init__(self) -> None:
        self._there, self._back = Wire(self.trip / 2), Wire(self.trip / 2)

    @contextlib.asynccontextmanager
    async def leading_to(self, port: int) -> AsyncIterator[int]:
        """Lead to a server on this machine, by the port that is given: use it instead of the server's own."""

        async def connected(near: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
            await asyncio.sleep(self.trip)
            far, questions = await asyncio.open_connection("127.0.0.1", port)
            # Who measures ends at any time.
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await self._connect(near, answers, far, questions)
            for writer in (answers, questions):
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        async with await asyncio.start_server(connected, "127.0.0.1", 0, limit=4 * PIECE) as server:
            yield int(server.sockets[0].getsockname()[1])

    async def _connect(
        self,
        near: asyncio.StreamReader,
        answers: asyncio.StreamWriter,
        far: asyncio.StreamReader,
        questions: asyncio.StreamWriter,
    ) -> None:
        asked, answered = -self.trip, True

        def ask() -> None:
            nonlocal asked, answered
            now = asyncio.get_running_loop().time()
            self.turns += answered and now - asked >= self.trip
            asked, answered = now, False

        def answer() -> None:
            nonlocal answered
            answered = True

        there = asyncio.create_task(_carry(near, questions, self._there, ask))
        back = asyncio.create_task(_carry(far, answers, self._back, answer))
        try:
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wire: Wire, seen: Callable[[], None]
) -> None:
    """Carry what comes until its end. Who sends more than can be underway waits, as with TCP's window."""
    underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(UNDERWAY)

    async def send() -> None:
        while True:
            arrival, piece = await underway.get()
            if not piece:
                return
            await asyncio.sleep(max(arrival - asyncio.get_running_loop().time(), 0))
            writer.write(piece)
            await writer.drain()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        piece = b"-"
        while piece:
            piece = await reader.read(PIECE)
            if piece:
                seen()
            await underway.put((wire.arrival(len(piece)), piece))
