"""What drills and measurements saw, as tables: on the terminal, and in build/, to be put into a chapter."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from projects import TEMPLATE
from rich import box
from rich.console import Console
from rich.table import Table

Rows = list[tuple[str, ...]]
HEADS = {
    "drills": (
        "backend",
        "what was done",
        "tries made again",
        "errors in their logs",
        "started again",
        "seconds",
    ),
    "scale": (
        "backend",
        "what was done",
        "seconds",
        "api-server, MiB",
        "a worker, MiB",
        "database, MiB",
        "store, MiB",
        "what came of it",
    ),
}
SEEN = pytest.StashKey[dict[str, Rows]]()


def as_table(name: str, rows: Rows) -> str:
    """The rows in Markdown, which a terminal shows as a table, too."""
    table = Table(*HEADS[name], box=box.MARKDOWN)
    for row in rows:
        table.add_row(*row)
    console = Console(file=io.StringIO(), width=1000, markup=False, highlight=False)
    console.print(table)
    return "\n".join(line.strip() for line in console.file.getvalue().splitlines() if line.strip()) + "\n"


def kept(name: str, config: pytest.Config) -> Iterator[Rows]:
    """Rows to be added to. In the end they are written down."""
    rows = config.stash.setdefault(SEEN, {}).setdefault(name, [])
    yield rows
    folder = TEMPLATE / "build"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text(as_table(name, rows), encoding="utf-8")


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """What the drills have seen so far."""
    yield from kept("drills", request.config)


@pytest.fixture(scope="session")
def scale(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """What has been measured so far."""
    yield from kept("scale", request.config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the tables."""
    for name, rows in config.stash.get(SEEN, {}).items():
        if rows:
            terminalreporter.section(name)
            terminalreporter.write_line(as_table(name, rows))
