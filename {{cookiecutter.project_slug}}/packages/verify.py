"""Says which files of packages/ are not as the template made them. An update replaces them: `make lint`."""

import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIST = "DIGESTS"
# What Python, tools and systems leave behind.
LEFTOVERS = {
    ".DS_Store",
    ".coverage",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "__pycache__",
    "build",
    "dist",
    "uv.lock",
}
ENDINGS = (".egg-info", ".pyc")


def digests(folder: Path = HERE) -> dict[str, str]:
    """The SHA-256 of every file below packages/ by its path there, but for the list itself and leftovers."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        left = any(part in LEFTOVERS or part.endswith(ENDINGS) for part in name.parts)
        if path.is_file() and name.name != LIST and not left:
            found[name.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return dict(sorted(found.items()))


def recorded(text: str) -> dict[str, str]:
    """The same as DIGESTS has it: lines of digest, two blanks and path, after one that names the version."""
    pairs = (line.split("  ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {path: digest for digest, path in pairs}


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """What a person did to managed files. A package of which only docs are there comes from elsewhere."""
    here = {name.partition("/")[0] for name in found if name.endswith("/pyproject.toml")}
    told = []
    for name in sorted(expected.keys() | found.keys()):
        if name not in found and name.partition("/")[0] in here:
            told.append(f"{name}  (missing)")
        elif name in found and name not in expected:
            told.append(f"{name}  (added)")
        elif name in found and found[name] != expected[name]:
            told.append(f"{name}  (changed)")
    return told


def main() -> int:
    """Returns 1 if there is something to say."""
    told = differences(recorded((HERE / LIST).read_text(encoding="utf-8")), digests())
    if not told:
        return 0
    package = next((path.parent.name for path in sorted(HERE.parent.glob("src/*/__init__.py"))), "<package>")
    lines = [f"    {HERE.name}/{name}" for name in told]
    print(
        "You edited managed files; an update will replace them, and keep your edits as a patch:",
        *lines,
        sep="\n",
    )
    print(
        f"Put a codec of your own into src/{package}/, and name it in AIRFLOW__XCOM__CODECS.\n"
        f"Edits that are not committed are undone by: git checkout {HERE.name}\n"
        f"Others, with the commit before them: git restore --source=COMMIT --staged --worktree {HERE.name}"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
