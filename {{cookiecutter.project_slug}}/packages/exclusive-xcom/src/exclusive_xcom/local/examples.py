"""Tells example pipelines by their tag, and cuts what is theirs out of texts. Changes no file."""

from __future__ import annotations

import ast
import io
import os
import re
from pathlib import Path

from ..console import Refused

TAG = "template-example"  # not "example": Airflow's own tutorials have that, and who copies one keeps it
DAG_NAMES = {"dag", "DAG"}


def is_example(path: Path) -> bool:
    """Whether the file makes DAGs, and each has the tag."""
    nodes = list(ast.walk(_parsed(path, text_of(path))))
    imports = [name for node in nodes if isinstance(node, ast.ImportFrom) for name in node.names]
    names = DAG_NAMES | {name.asname for name in imports if name.asname and name.name in DAG_NAMES}

    def makes_dag(node: ast.AST) -> bool:
        return getattr(node, "id", getattr(node, "attr", None)) in names

    dags: list[ast.expr] = [node for node in nodes if isinstance(node, ast.Call) and makes_dag(node.func)]
    decorators = [each for node in nodes for each in getattr(node, "decorator_list", [])]
    dags += filter(makes_dag, decorators)  # @dag alone: it has no tags
    return bool(dags) and all(map(_has_tag, dags))


def _has_tag(dag: ast.expr) -> bool:
    tags = [keyword.value for keyword in getattr(dag, "keywords", []) if keyword.arg == "tags"]
    items = tags[0].elts if tags and isinstance(tags[0], ast.List | ast.Tuple | ast.Set) else []
    values = [item.value if isinstance(item, ast.Constant) else None for item in items]
    return TAG in values and all(isinstance(value, str) for value in values)


def cut_classes(path: Path, text: str, mark: re.Pattern[str]) -> str:
    """The module without the classes that say that they are for one of these pipelines."""
    lines = io.StringIO(text, newline="").readlines()  # lines as Python counts them; not so splitlines
    for node in reversed(_parsed(path, text).body):
        if isinstance(node, ast.ClassDef) and mark.match(ast.get_docstring(node) or ""):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    return "".join(lines)


def cut_lines(text: str, mark: re.Pattern[str], code: str) -> str:
    """Without the comments that say that they are for one of these pipelines, each with the line below it,
    unless the code that stays needs that: the connection or the provider of Airflow that it brings."""
    block = rf"^ *# {mark.pattern}.*\n(?: *#.*\n)*.*\n?(?:\r?\n)?"

    def left(found: re.Match[str]) -> str:
        connections = [name.lower() for name in re.findall(r"AIRFLOW_CONN_(\w+)", found[0])]
        needed = [f"{quote}{name}{quote}" for name in connections for quote in "'\""]
        for provider in re.findall(r"apache-airflow-(providers-[\w-]+)", found[0]):
            needed.append(f"airflow.{provider.replace('-', '.')}")
        return found[0] if any(each in code for each in needed) else ""

    return re.sub(block, left, text, flags=re.MULTILINE)


def text_of(path: Path) -> str:
    """The text with the line ends that it has. Raises `Refused` if it can't be read."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{shown(path)} can't be read as UTF-8: {error}") from error


def _parsed(path: Path, text: str) -> ast.Module:
    """Raises `Refused` if it is no Python."""
    try:
        return ast.parse(text.removeprefix("\ufeff"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(f"{shown(path)} can't be understood: {error}") from error


def shown(path: Path) -> str:
    """The path for people, also if it is no UTF-8."""
    return os.fsencode(path).decode(errors="replace")
