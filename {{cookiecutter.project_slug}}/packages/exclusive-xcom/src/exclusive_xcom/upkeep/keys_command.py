"""`xcom keys`: the keys by which XComs are encrypted; how one is made, takes over, and goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import Refused, Side
from . import choosing
from .telling import PANEL, age, amount, at_work, cell, console, in_words, tell_json, tell_table

if TYPE_CHECKING:
    from .key_files import Wrote

_COLUMNS: dict[str, Side] = {"key": "right", "state": "left", "since": "right", "wrote": "left"}
_COLUMNS |= {"last": "right", "may go": "left"}
File = Annotated[Path, typer.Argument(metavar="FILE", help="The keyset, in Tink's JSON form.")]
Number = Annotated[int, typer.Argument(metavar="KEY", help="Its id, as `xcom keys` lists it.")]
Kms = Annotated[
    str,
    typer.Option(
        "--kms", metavar="URI", help="It is wrapped by this key: aws-kms://, gcp-kms://, hcvault://."
    ),
]

app = typer.Typer(no_args_is_help=False)


def add(commands: typer.Typer) -> None:
    """Add the commands. The entry point `keys` in `exclusive_xcom.commands` names this."""
    commands.add_typer(app, name="keys", rich_help_panel=PANEL)


@app.callback(invoke_without_command=True)
def keys(context: typer.Context, as_json: choosing.AsJson = False) -> None:
    """List the keys by which XComs are encrypted, or make, add, activate or retire one.

    xcom keys                                 those of the keysets that are set, and what each wrote

    xcom keys create /etc/xcom/keyset.json    a new keyset, readable for you alone

    xcom keys add FILE                        1. a new key; give the file to every worker

    xcom keys activate FILE KEY               2. it encrypts from now on; give the file to every worker

    xcom keys retire FILE OLD                 3. when the time of what the old one wrote is over
    """
    if context.invoked_subcommand is not None:
        return
    with at_work(context, "Looking", store=False) as status:
        import airflow  # noqa: F401 - first: it looks for the backend, which would be half imported by then

        from .. import keysets

        found = list(keysets.each())
        status.update("Looking which key wrote what …")
        wrote, why = _wrote() if found else ({}, "")
        sets = [_told(source, there, wrote, why) for source, there in found]
    if as_json:
        tell_json({"keysets": sets, "rows": why or "asked"})
        return
    out = console()
    for told in sets:
        out.print(f"[bold]{cell(told['keyset'])}[/]  [dim]{cell(told['from'])}[/]", soft_wrap=True)
        if told["trouble"]:
            out.print(cell(told["trouble"], "red"), soft_wrap=True)
        else:
            tell_table(out, _COLUMNS, [_cells(key) for key in told["keys"]], ["wrote", "may go"])
        out.print()
    if not sets:
        out.print("No keyset is set: XComs are not encrypted. `xcom keys create FILE` makes one.")
    if why:
        out.print(cell(f"What they wrote is not known: {why}", "yellow"), soft_wrap=True)


@app.command()
def create(context: typer.Context, file: File, kms: Kms = "") -> None:
    """Make a keyset with one key, in a file that only you can read. It is shown nowhere."""
    path = _place(context, file)
    with in_words():
        from .key_files import KeyFile

        number = KeyFile(path, kms).create()
    out = console()
    out.print(f"{cell(str(path))} has key {number}.", soft_wrap=True)
    out.print(
        "Keep a copy where it can't get lost: without it, what it encrypts is lost. Keep it out of git and "
        "of images. Give it to each worker that may read, and set there:",
        soft_wrap=True,
    )
    out.print(cell(f"AIRFLOW__XCOM__KEYSET_FILE={path}"), soft_wrap=True)
    if kms:
        out.print(cell(f"AIRFLOW__XCOM__KEYSET_KMS={kms}"), soft_wrap=True)


@app.command(name="add")
def add_key(context: typer.Context, file: File, kms: Kms = "") -> None:
    """Add a key. It does not encrypt yet, so that every worker can have it before one does."""
    path = _place(context, file)
    with in_words():
        from .key_files import KeyFile

        number = KeyFile.at(path, kms).add()
    print(f"Key {number} was added. Give the file to every worker that has the keyset, and then:")
    print(f"xcom keys activate {file} {number}")


@app.command()
def activate(context: typer.Context, file: File, key: Number, kms: Kms = "") -> None:
    """Let a key encrypt what is pushed from now on. The others go on to decrypt."""
    path = _place(context, file)
    with in_words():
        from .key_files import KeyFile

        before = KeyFile.at(path, kms).activate(key)
    print(f"Key {key} encrypts, once workers have this file. When the time of what {before} wrote is over:")
    print(f"xcom keys retire {file} {before}")


@app.command()
def retire(
    context: typer.Context,
    file: File,
    key: Number,
    kms: Kms = "",
    lose: Annotated[
        bool, typer.Option("--lose", help="Also if something can then never be read again.")
    ] = False,
) -> None:
    """Destroy a key that is needed no more. Refused before the time of what it wrote is over."""
    path = _place(context, file)
    with at_work(context, "Looking what it wrote", store=False):
        import airflow  # noqa: F401 - first, as above

        from .key_files import KeyFile, told

        found, why = _wrote()
        wrote = None if why else told(key, found)
        KeyFile.at(path, kms).retire(key, wrote, _longest(), lose=lose)
    print(f"Key {key} is destroyed. Give the file to every worker.")


def _place(context: typer.Context, file: Path) -> Path:
    """Where a file is, from the folder in which the person is."""
    path = Path(context.meta["folder"]) / file
    if path.is_dir():
        raise Refused(f"{path} is a folder. Name a file in it.")
    return path


def _wrote() -> tuple[dict[int, Wrote], str]:
    """What each key wrote, as far as rows tell; or why they can't be asked for."""
    from sqlalchemy.exc import SQLAlchemyError

    from ..errors import XComError
    from .choosing import Selection
    from .key_files import written
    from .rows import current_rows

    try:
        every = current_rows().chosen(Selection())
        return written((entry.ref, entry.written) for _, entries in every for entry in entries), ""
    except SQLAlchemyError as error:
        return {}, str(error).strip().splitlines()[0]
    except (XComError, LookupError) as error:
        return {}, str(error)


def _longest() -> timedelta | None:
    from airflow.sdk.execution_time.xcom import XCom

    from .. import config, keeping
    from .key_files import longest

    return longest(keeping.rules(getattr(XCom, "default_retention", config.RETENTION.default)))


def _told(source: Any, there: Any, wrote: dict[int, Wrote], why: str) -> dict[str, Any]:
    """What is known of a keyset, as JSON."""
    from ..errors import XComError
    from .key_files import KeyFile, told

    found: dict[str, Any] = {"keyset": source.name, "from": source.where, "trouble": "", "keys": []}
    if isinstance(there, XComError):
        return found | {"trouble": str(there)}
    file = KeyFile.at(Path(source.file), source.kms) if source.file else KeyFile(Path("/"))
    for number, state in there.states.items():
        wrote_it = told(number, wrote)
        since = file.since(number) or wrote_it.first
        may_go = ""
        if state == "enabled" and number != there.primary:
            may_go = file.why_not_yet(number, None if why else wrote_it, _longest()) or "now"
        found["keys"].append(
            {
                "key": number,
                "state": "encrypts"
                if number == there.primary
                else "decrypts"
                if state == "enabled"
                else state,
                "since": since.isoformat() if since else None,
                "wrote": None if why else wrote_it.number,
                "bytes": None if why else wrote_it.length,
                "last": wrote_it.last.isoformat() if wrote_it.last else None,
                "may_go": may_go,
            }
        )
    return found


def _cells(key: dict[str, Any]) -> list[str]:
    now = datetime.now(UTC)
    ago = [
        f"{age(datetime.fromisoformat(key[name]), now)} ago" if key[name] else ""
        for name in ("since", "last")
    ]
    wrote = "" if key["wrote"] is None else amount(key["wrote"], key["bytes"])
    colour = {"encrypts": "green", "destroyed": "dim", "disabled": "yellow"}.get(key["state"], "")
    return [str(key["key"]), cell(key["state"], colour), ago[0], cell(wrote), ago[1], cell(key["may_go"])]
