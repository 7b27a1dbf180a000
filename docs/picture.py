"""Draws docs/make-run.svg: what `make run` prints in the project that `make demo` has made."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 132  # columns
ONLY = "orders pictures time_zones"  # more would make the picture longer than a screen


def main() -> None:
    """Run some pipelines of build/demo/my-pipelines once more, and draw from the head of the table on."""
    root = Path(__file__).parents[1]
    colors = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    project = root / "build" / "demo" / "my-pipelines"
    done = subprocess.run(
        ["make", "--silent", "run", f"ONLY={ONLY}"],
        cwd=project,
        env={**os.environ, **colors},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    lines = done.stdout.splitlines()
    head = next(at for at, line in enumerate(lines) if "pipeline" in line and "kept in" in line)
    printed = "\n".join(lines[head:])
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="256")
    console.print(Text(f'$ make run ONLY="{ONLY}"\n', style="bold"))
    console.print(Text.from_ansi(printed))
    target = root / "docs" / "make-run.svg"
    target.write_text(console.export_svg(title="make run"), encoding="utf-8")
    print(target.relative_to(root))


if __name__ == "__main__":
    main()
