"""`xcom lifecycle`: the bucket's rules that end payloads when their time is over."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..console import Failed, Refused
from ..errors import XComError


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Upkeep")(lifecycle)


def lifecycle(
    apply: Annotated[bool, typer.Option("--apply", help="Give them to the bucket; others stay.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the bucket's with them; exit code 1 if they differ.")
    ] = False,
) -> None:
    """Print the bucket's lifecycle rules, as S3 takes them.

    xcom lifecycle > rules.json      for whoever looks after the bucket

    xcom lifecycle --apply           needs s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration

    xcom lifecycle --check           needs the first of them
    """
    from ..s3 import lifecycle as rules
    from ..s3.location import Location

    if apply and check:
        raise Refused("`--apply` sets the rules, `--check` compares them. Choose one.")
    try:
        location = Location.current()
        if location is None or location.scheme != "s3":
            where = location.url if location else "this project's backend"
            raise Refused(f"Lifecycle rules by tags are a thing of s3://, and {where} is none.")
        if not apply and not check:
            print(json.dumps(rules.wanted(location), indent=2))
            return
        if apply:
            rules.apply(location)
        found = rules.found(location)
    except XComError as error:
        raise Failed(str(error)) from error
    wrong = [f"Missing: {name}" for name in rules.missing(location, found)]
    for name, when in rules.too_early(location, found):
        wrong.append(f"Ends payloads before their time: {name}, {rules.in_words(when)}. Remove it.")
    if wrong:
        raise Failed("\n".join([f"Bucket {location.bucket} has other rules than it needs.", *wrong]))
    print(f"Bucket {location.bucket} has the rules that {location.url} needs.")
