"""Writes packages/DIGESTS, the list of what the template gives to every project: `make digests`."""

from __future__ import annotations

import runpy
import sys
import tomllib
from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1] / "{{cookiecutter.project_slug}}" / "packages"


def listing(packages: Path = PACKAGES) -> str:
    """What DIGESTS has to say of these packages: the engine's version, and a line for each file.

    `sha256sum --check DIGESTS` understands it.
    """
    project = tomllib.loads((packages / "exclusive-xcom/pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    found: dict[str, str] = runpy.run_path(str(packages / "verify.py"))["digests"](packages)
    lines = [f"{digest}  {name}" for name, digest in found.items()]
    return "\n".join([f"# {project['name']} {project['version']}", *lines]) + "\n"


def main() -> int:
    """Write the list; with `--check`, only say whether it is right. Returns 1 if it is not."""
    path = PACKAGES / "DIGESTS"
    now = listing()
    if sys.argv[1:] != ["--check"]:
        path.write_text(now, encoding="utf-8")
        return 0
    if path.is_file() and path.read_text(encoding="utf-8") == now:
        return 0
    print("packages/DIGESTS does not list what is there: make digests", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
