"""`xcom show` and `xcom get`: what an XCom is and how it begins; its value as a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..atomic import replacing
from ..console import Refused, clean
from ..errors import XComError
from ..handle import human_size
from . import choosing
from .telling import age, at_work, cell, console, tell_json

if TYPE_CHECKING:
    from .rows import Entry

_MOST = 64 * 10**6  # bytes that are fetched without being asked for
_NOT_FETCHED = ("binary", "file")  # codecs of payloads about which the row tells all


def show(
    context: typer.Context,
    dag: choosing.OneDag,
    task: choosing.OneTask,
    key: choosing.OneKey = "return_value",
    run: choosing.OneRun = None,
    map_index: choosing.Index = None,
    values: Annotated[
        bool, typer.Option("--values/--no-values", help="With the beginning of the value itself.")
    ] = True,
    whole: Annotated[
        bool, typer.Option("--whole", help=f"Fetch also a payload of more than {human_size(_MOST)}.")
    ] = False,
    as_json: choosing.AsJson = False,
) -> None:
    """Show an XCom: whose it is, what it is, and how it begins. Builds no object of a class of yours.

    xcom show orders revenue                  what `revenue` returned, in the latest run that has it

    xcom show orders revenue --no-values      columns and types, no cell

    xcom show pictures thumbnail --map-index 2 --json
    """
    with at_work(context, "Looking"):
        from .rows import current_rows, now

        entry, time = current_rows().entry(dag, task, key, run, map_index), now()
        looked = _looked(entry, values=values, whole=whole)
    if as_json:
        tell_json({**entry.told(), **_of_reference(entry), **looked})
        return
    out = console()
    for name, text in _facts(entry, time).items():
        if text:
            out.print(f"[dim]{name:>9}[/]  {cell(text)}", soft_wrap=True)
    out.print()
    if "preview" in looked:
        from .. import preview
        from ..preview.lines import lines

        size = preview.size_in_words(looked["preview"])
        out.print(f"[bold]{cell(looked['preview']['kind'])}[/]{cell(f', {size}' if size else '')}")
        for line in lines(looked["preview"], out.width):
            out.print(cell(line), soft_wrap=True)
    if looked.get("trouble"):
        out.print(cell(looked["trouble"], "red" if looked["failed"] else "yellow"), soft_wrap=True)
    if looked.get("failed"):
        raise typer.Exit(1)


def get(
    context: typer.Context,
    dag: choosing.OneDag,
    task: choosing.OneTask,
    key: choosing.OneKey = "return_value",
    run: choosing.OneRun = None,
    map_index: choosing.Index = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write it: .csv, .parquet, .json, … `-`: to a pipe."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write what a task handed over into a file, which is readable for you alone.

    xcom get orders revenue -o revenue.parquet      also .csv .json .jsonl .arrow

    xcom get pictures thumbnail --map-index 2 -o small.png

    xcom get web_logs sessions -o - | head          standard output gets the value alone
    """
    target = _target(output, context.meta["folder"], force=force)
    pipe = sys.stdout.buffer
    with at_work(context, "Fetching"):
        from .. import export, inspection
        from .rows import current_rows

        # The value was asked for, not how it came.
        logging.getLogger("exclusive_xcom.transfer").setLevel(logging.WARNING)
        entry = current_rows().entry(dag, task, key, run, map_index)
        value = inspection.Found(entry.address, entry.written, entry.stored).load()
        if target is None:
            export.write(value, "", pipe)
        else:
            with replacing(target, private=True) as file:
                export.write(value, target.suffix, file)
    if target is not None:
        print(f"{clean(str(target))}: {human_size(target.stat().st_size)}")


def _target(output: str | None, folder: Path, *, force: bool) -> Path | None:
    """The file that is to be written; None for standard output. Raises `Refused` if it can't be."""
    if output is None:
        advice = "`-o FILE`, or `-o -` for a pipe. `xcom show` shows how it begins."
        raise Refused(f"Say into which file: {advice}")
    if output == "-" and sys.stdout.isatty():
        raise Refused("`-o -` is for a pipe or a file, and standard output is a terminal.")
    if output == "-":
        return None
    target = folder / output
    if not target.parent.is_dir():
        raise Refused(f"There is no folder {target.parent}.")
    if target.is_dir():
        raise Refused(f"{target} is a folder. Name a file in it.")
    if target.exists() and not force:
        raise Refused(f"{target} is there already. `--force` overwrites it.")
    return target


def _facts(entry: Entry, time: Any) -> dict[str, str]:
    """What is known without the value, by its name."""
    of, ref = entry.address, entry.seen
    kept = entry.where if ref is None or ref.uri else "Airflow's row"
    expires = ref.expires if ref else None
    when = f"{expires.at:%Y-%m-%d %H:%M} UTC" if expires and expires.at else ""
    if expires and expires.run:
        when = f"when its run has ended well{when and f', or {when}'}"
    made = f"{entry.written:%Y-%m-%d %H:%M:%S} UTC, {age(entry.written, time)} ago"
    if ref and ref.attempt.try_number:
        made += f", by try {ref.attempt.try_number}"
    return {
        "XCom": str(of).partition(", run ")[0],
        "run": of.run_id,
        "pushed": made,
        "size": human_size(entry.length),
        "kept in": "Airflow's row" if kept == "row" else kept,
        "stored as": f"{ref.codec}, {ref.media_type}" if ref else "plain JSON" if entry.is_plain else "",
        "file": ref.filename or "" if ref else "",
        "sha256": ref.sha256 if ref else "",
        "encrypted": f"by key {ref.encryption.key}" if ref and ref.encryption else "",
        "expires": f"{when}, by {expires.rule}" if expires else "",
    }


def _of_reference(entry: Entry) -> dict[str, Any]:
    if (ref := entry.seen) is None:
        return {}
    told = {"codec": ref.codec, "media_type": ref.media_type, "sha256": ref.sha256, "file": ref.filename}
    return {**told, "try": ref.attempt.try_number}


def _looked(entry: Entry, *, values: bool, whole: bool) -> dict[str, Any]:
    """A preview, and the reason why it is none of the payload ("trouble"), but the one that the row keeps, if
    any; and whether that is an error ("failed")."""
    from .. import glimpse, preview
    from .rows import now

    ref = entry.seen
    if ref is None:
        if entry.why_not:
            return {"failed": True, "trouble": entry.why_not}
        return {"failed": False, "preview": preview.preview(entry.stored, values=values)}
    of_row = glimpse.of(ref, now())
    of_row = of_row if values or of_row is None else preview.without_values(of_row)
    kept = {} if of_row is None else {"preview": of_row}
    if ref.codec.partition("/")[0] in _NOT_FETCHED:
        told = {"kind": ref.kind, "name": ref.filename} if ref.filename else {"kind": ref.kind}
        return {"failed": False, "preview": {**(of_row or {}), **told, "bytes": ref.length}}
    if ref.uri and ref.length > _MOST and not whole:
        trouble = f"{human_size(ref.length)} are not fetched for a look: `--whole` does."
        return {"failed": False, "trouble": trouble, **kept}
    try:
        from .looking import value_of

        assert entry.ref
        return {"failed": False, "preview": preview.preview(value_of(entry.ref), values=values)}
    except XComError as error:
        return {"failed": True, "trouble": str(error), **kept}
