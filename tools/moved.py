"""Lines in a person's own files that name modules which the template moved, and what to write instead.

Which modules are gone is read off the two renderings. Where they went is known here for those that once were
in the project's own package, and looked up in the new packages/: only what is really there is proposed.
"""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from managed import MANAGED, is_managed
from repository import Git

# Modules of the project's package, or modules that its tests share, and where the engine has them.
MOVED = {
    r"xcom\.(redis|s3)_(\w+)": r"exclusive_xcom.\1.\2",
    r"xcom\.options": r"exclusive_xcom.config",
    r"xcom(\..+)?": r"exclusive_xcom\1",
    r"(background|environment|metadata|report|runner|services|worker)": r"exclusive_xcom.local.\1",
    r"cli": r"exclusive_xcom.cli",
    r"(codec_contract|store_contract|identical)": r"exclusive_xcom.testing.\1",
}
RENAMED = {"exclusive": "lock"}
LARGEST = 1_000_000  # bytes; a larger file is data, and nobody wrote it by hand


@dataclass(frozen=True)
class Line:
    """A line that names what is gone, and what to write instead; nothing where nothing takes its place."""

    file: str
    number: int
    text: str
    instead: str

    def __str__(self) -> str:
        told = self.instead or "nothing takes its place"
        return f"{self.file}:{self.number}: {self.text}\n        instead: {told}"


def modules(root: Path) -> dict[str, Path]:
    """The modules below a folder that is on Python's path, by their dotted names."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def gone_modules(before: Path, after: Path) -> set[str]:
    """Modules that the template no longer has in src/, and those that its tests imported from each other."""
    src = modules(before / "src").keys() - modules(after / "src").keys()
    shared, kept = ({path.stem for path in (made / "tests").rglob("*.py")} for made in (before, after))
    return src | {name for name in shared - kept if not name.startswith(("test_", "__"))}


def moved(gone: str, package: str) -> str:
    """Where a module went; nothing when nobody knows."""
    tail = gone.removeprefix(f"{package}.")
    found = ((re.fullmatch(pattern, tail), place) for pattern, place in MOVED.items())
    return next((match.expand(place) for match, place in found if match), "")


class Engine:
    """What the packages of a release define, for finding where a name is now."""

    def __init__(self, project: Path) -> None:
        self.names: dict[str, set[str]] = {}
        for src in sorted((project / MANAGED).glob("*/src")):
            for module, path in modules(src).items():
                self.names[module] = set()
                with contextlib.suppress(SyntaxError, ValueError):  # written for a newer Python than this
                    self.names[module].update(defined(ast.parse(path.read_bytes())))

    def module(self, gone: str, package: str) -> str:
        """Where a module is now; nothing when it is nowhere."""
        new = moved(gone, package)
        return new if new in self.names else ""

    def place(self, name: str, module: str) -> str:
        """The module that a name is imported from now, if it went to `module` with others; or nothing."""
        if not module:
            return ""
        by_depth = sorted(self.names, key=lambda known: (known.startswith("_"), known.count("."), known))
        public = [known for known in by_depth[:1] if name in self.names[known]]
        elsewhere = [known for known in by_depth if name in self.names[known]]
        here = [module] if name in self.names.get(module, ()) else []
        return next(iter([*public, *here, *elsewhere]), "")


def defined(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines at its top, and what it lists in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id
                    if target.id == "__all__":
                        yield from ast.literal_eval(node.value)


def old_lines(git: Git, package: str, before: Path, after: Path, left_out: Collection[str]) -> list[Line]:
    """Lines of the project's own files that name a module which is gone, but for files that are `left_out`.

    Args:
        git: the project, after the merge.
        package: the name of the project's own package.
        before: the project as the former release makes it.
        after: the same of the release that is taken in.
        left_out: paths of files that a person has to look at anyway.
    """
    gone = gone_modules(before, after)
    if not gone:
        return []
    engine = Engine(after)
    found = []
    for name in dict.fromkeys(git.names("ls-files", "-z")):
        path = git.folder / name
        if is_managed(name) or name in left_out or name in (".cruft.json", "uv.lock") or path.is_symlink():
            continue
        if path.is_file() and path.stat().st_size < LARGEST:
            content, theirs = path.read_bytes(), after / name
            if not (theirs.is_file() and theirs.read_bytes() == content):
                found += old_lines_of(name, content, gone, engine, package)
    return found


def old_lines_of(name: str, content: bytes, gone: set[str], engine: Engine, package: str) -> list[Line]:
    """The same, of one file."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return []
    lines = text.splitlines()
    found: dict[int, Line] = {}
    imports: set[int] = set()
    if name.endswith(".py"):
        for node, base, names in imported(name, text):
            imports |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            instead = rewritten(base, names, gone, engine, package)
            if instead is not None:
                found[node.lineno] = Line(name, node.lineno, lines[node.lineno - 1].strip(), instead)
    ours = [module for module in sorted(gone, key=len, reverse=True) if module.startswith(f"{package}.")]
    pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, ours)) or '(?!)'})\b")
    for number, line in enumerate(lines, 1):
        if number not in imports and pattern.search(line):
            there = pattern.sub(lambda match: engine.module(match[1], package) or "???", line).strip()
            found[number] = Line(name, number, line.strip(), "" if "???" in there else there)
    return [found[number] for number in sorted(found)]


def imported(name: str, text: str) -> Iterator[tuple[ast.Import | ast.ImportFrom, str, list[ast.alias]]]:
    """Each import of a module: the statement, the module in full (nothing for `import x`), and the names."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return
    inside = Path(name).parts[1:-1] if name.startswith("src/") else ()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield node, "", node.names
        elif isinstance(node, ast.ImportFrom):
            above = inside[: len(inside) - node.level + 1] if node.level else ()
            yield node, ".".join([*above, *filter(None, [node.module])]), node.names


def rewritten(base: str, names: list[ast.alias], gone: set[str], engine: Engine, package: str) -> str | None:
    """What to write instead of an import: "" where nothing takes its place, None if it is still right."""
    if not base:
        old = [alias for alias in names if alias.name in gone]
        new = [engine.module(alias.name, package) for alias in old]
        return None if not old else "" if not all(new) else "import " + ", ".join(new)
    wanted: dict[str, list[str]] = {}
    for alias in names:
        whole = f"{base}.{alias.name}"
        if whole in gone:
            module, _, name = engine.module(whole, package).rpartition(".")
        elif base in gone:
            name = RENAMED.get(alias.name, alias.name)
            module = engine.place(name, moved(base, package))
        else:
            module, name = base, alias.name
        wanted.setdefault(module, []).append(name + (f" as {alias.asname}" if alias.asname else ""))
    if set(wanted) == {base}:
        return None
    lost = wanted.pop("", [])
    if not wanted:
        return ""
    notes = [f"nothing takes the place of {', '.join(lost)}"] if lost else []
    notes += [f"{new} was called {old}" for old, new in RENAMED.items() if any(old == a.name for a in names)]
    lines = [f"from {module} import {', '.join(kept)}" for module, kept in wanted.items()]
    return "; ".join(lines) + (f"  # {'; '.join(notes)}" if notes else "")
