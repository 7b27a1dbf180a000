"""`xcom lifecycle`: the bucket's rules that end payloads when their time is over."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..console import Failed, Refused
from .telling import PANEL, at_work


def add(app: typer.Typer) -> None:
    """Add the command. The entry point `retention` in `exclusive_xcom.commands` names this."""
    app.command(rich_help_panel=PANEL)(lifecycle)


def lifecycle(
    context: typer.Context,
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
    if apply and check:
        raise Refused("`--apply` sets the rules, `--check` compares them. Choose one.")
    with at_work(context, "Asking the bucket", store=apply or check):
        import airflow  # noqa: F401 - first: it looks for the backend, which would be half imported by then

        from ..s3 import lifecycle as rules
        from ..s3.location import Location

        location = Location.current()
        if location is None or location.scheme != "s3":
            where = f"in {location.url}" if location else "elsewhere"
            raise Refused(f"Lifecycle rules are for a bucket (s3://…). XComs are kept {where}.")
        if apply:
            rules.apply(location)
        found = rules.found(location) if apply or check else None
    if found is None:
        print(json.dumps(rules.wanted(location), indent=2))
        return
    wrong = [f"Missing: {name}" for name in rules.missing(location, found)]
    for name, when in rules.too_early(location, found):
        wrong.append(f"Ends payloads before their time: {name}, {rules.in_words(when)}. Remove it.")
    if wrong:
        raise Failed("\n".join([f"Bucket {location.bucket} has other rules than it needs.", *wrong]))
    print(f"Bucket {location.bucket} has the rules that {location.url} needs.")
