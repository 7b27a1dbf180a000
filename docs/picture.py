"""Draws docs/make-run.svg: what `make run` prints in the project that `make demo` has made."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 122  # columns


def main() -> None:
    """Run the pipelines of build/demo/my-pipelines once more, and draw from the first of their lines on."""
    root = Path(__file__).parents[1]
    colors = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    project = root / "build" / "demo" / "my-pipelines"
    done = subprocess.run(
        ["make", "--silent", "run"], cwd=project, env={**os.environ, **colors}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    printed = done.stdout[done.stdout.index("pipeline") :]
    printed = re.sub(r"\s+$", "", printed)
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="256")
    console.print(Text("$ make run\n", style="bold"))
    console.print(Text.from_ansi(printed))
    target = root / "docs" / "make-run.svg"
    target.write_text(console.export_svg(title="make run"), encoding="utf-8")
    print(target.relative_to(root))


if __name__ == "__main__":
    main()
