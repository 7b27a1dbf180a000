"""What the drills saw, as a table: on the terminal, and in build/drills.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from projects import TEMPLATE

Rows = list[tuple[str, ...]]
HEAD = ("backend", "what was done", "tries made again", "errors in their logs", "started again", "seconds")
SEEN = pytest.StashKey[Rows]()


def as_table(rows: Rows) -> str:
    """The rows in Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> Iterator[Rows]:
    """What has been seen so far, to be added to."""
    rows = request.config.stash.setdefault(SEEN, [])
    yield rows
    folder = TEMPLATE / "build"
    folder.mkdir(exist_ok=True)
    (folder / "drills.md").write_text(as_table(rows), encoding="utf-8")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the table."""
    if rows := config.stash.get(SEEN, []):
        terminalreporter.section("drills")
        terminalreporter.write_line(as_table(rows))
