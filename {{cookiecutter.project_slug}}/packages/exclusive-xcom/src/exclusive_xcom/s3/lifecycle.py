"""A bucket's lifecycle rules: what ends payloads by their tags, and which rules there are.

Each payload that expires has the tag `keep`: the days that it is kept, rounded up to one of the steps. There
is a rule for each step, so they stay the same when the project's own rules change. S3's rules can't say "all
others", and of several that match the shortest time counts: so what has no tag is never ended, and a rule for
the whole prefix would end what is to stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ..errors import StoreDenied, StoreError, XComError
from ..reference import Expiry
from .errors import explain_boto
from .location import Location
from .login import boto_client

TAG = "keep"
# Days that a lifecycle rule may have. What is kept for longer than the last has no tag.
STEPS = (1, 2, 3, 4, 5, 6, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 730, 1095, 1826, 3653)
_BESIDE = ("TransitionDefaultMinimumObjectSize",)  # set with the rules; S3 sets what is left out anew
_ELEMENT = re.compile(rb"<(?:\w+:)?([A-Za-z]\w*)")
_SLACK = 5  # seconds that may pass between a push and its tag


def tags_of(expires: Expiry | None) -> dict[str, str]:
    """The tags of an object with this end: none if it has none, or a later one than any rule."""
    if expires is None or expires.at is None:
        return {}
    days = math.ceil(((expires.at - datetime.now(UTC)).total_seconds() - _SLACK) / 86400)
    step = next((step for step in STEPS if step >= days), None)
    return {} if step is None else {TAG: f"{step}d"}


def wanted(location: Location) -> dict[str, Any]:
    """The rules for a location, as S3 takes them."""
    begin = f"{location.prefix}/" if location.prefix else ""
    rules: list[dict[str, Any]] = [
        {
            "ID": f"XComs in {begin or 'all'}: remove what killed uploads leave behind",
            "Status": "Enabled",
            "Filter": {"Prefix": begin},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        }
    ]
    for days in STEPS:
        of = {"Prefix": begin, "Tags": [{"Key": TAG, "Value": f"{days}d"}]}
        rules.append(
            {
                "ID": f"XComs in {begin or 'all'}: keep {days}d",
                "Status": "Enabled",
                "Filter": {"And": of},
                "Expiration": {"Days": days},
            }
        )
    return {"Rules": rules}


def found(location: Location) -> list[dict[str, Any]]:
    """The rules that the bucket has. Raises `StoreError`."""
    return list(_had(boto_client(location), location).get("Rules", []))


def apply(location: Location) -> None:
    """Give the bucket our rules; those of others stay, with what else is set beside them.

    Raises `StoreError`, also if one of theirs has something that boto3 would lose on its way: S3 takes all
    rules or none.
    """
    ours, client, told = wanted(location)["Rules"], boto_client(location), []

    def keep(response_dict: dict[str, Any], **_: Any) -> None:
        told.append(response_dict["body"])

    event = "before-parse.s3.GetBucketLifecycleConfiguration"
    client.meta.events.register(event, keep)
    try:
        had = _had(client, location)
    finally:
        client.meta.events.unregister(event, keep)
    ids = {rule["ID"] for rule in ours}
    others = [rule for rule in had.get("Rules", []) if rule.get("ID") not in ids]
    if others and (lost := set(_ELEMENT.findall(told[-1])) - _known(client)):
        raise StoreError(
            f"A lifecycle rule of bucket {location.bucket} has {b', '.join(sorted(lost)).decode()}, which "
            "would be lost",
            "Nothing was changed. Add the rules that `xcom lifecycle` prints by the tool that set that one.",
        )
    more = {name: had[name] for name in _BESIDE if name in had}
    try:
        client.put_bucket_lifecycle_configuration(
            Bucket=location.bucket, LifecycleConfiguration={"Rules": [*others, *ours]}, **more
        )
    except Exception as error:
        raise _explained(error, location, "set", "s3:PutLifecycleConfiguration") from None


def _had(client: Any, location: Location) -> dict[str, Any]:
    try:
        return dict(client.get_bucket_lifecycle_configuration(Bucket=location.bucket))
    except Exception as error:
        if _code(error) == "NoSuchLifecycleConfiguration":
            return {}
        raise _explained(error, location, "read", "s3:GetLifecycleConfiguration") from None


def _known(client: Any) -> set[bytes]:
    """The elements of rules that boto3 reads and writes."""
    names, left = {b"LifecycleConfiguration", b"Rule"}, [client.meta.service_model.shape_for("LifecycleRule")]
    while left:
        shape = left.pop()
        left += [shape.member] if shape.type_name == "list" else []
        for name, member in getattr(shape, "members", {}).items():
            names.add(member.serialization.get("name", name).encode())
            left.append(member)
    return names


def missing(location: Location, rules: list[dict[str, Any]]) -> list[str]:
    """The names of our rules that are not among a bucket's, or not as they should be."""
    have = {_meaning(rule) for rule in rules}
    return [rule["ID"] for rule in wanted(location)["Rules"] if _meaning(rule) not in have]


def too_early(location: Location, rules: list[dict[str, Any]]) -> Iterator[tuple[str, int | str]]:
    """The names of a bucket's rules that end payloads before their time, and after how many days, or when."""
    begin = f"{location.prefix}/" if location.prefix else ""
    for rule in rules:
        end = rule.get("Expiration", {})
        when = end.get("Days") or end.get("Date")
        prefix, tags = _filter(rule)
        mine = begin.startswith(prefix) or prefix.startswith(begin)
        if rule.get("Status") != "Enabled" or not when or not mine or {name for name, _ in tags} - {TAG}:
            continue  # what has a tag of somebody else's is none of ours
        step = re.fullmatch(r"(\d+)d", dict(tags).get(TAG, ""))
        if not step or not isinstance(when, int) or when < int(step[1]):
            yield str(rule.get("ID") or "without a name"), when if isinstance(when, int) else str(when)


def in_words(when: int | str) -> str:
    """When such a rule ends something, for people."""
    return f"after {when} days" if isinstance(when, int) else f"on {when}"


def _meaning(rule: dict[str, Any]) -> tuple[Any, ...]:
    end = rule.get("Expiration", {}).get("Days")
    aborted = rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
    return (rule.get("Status"), *_filter(rule), end, aborted)


def _filter(rule: dict[str, Any]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """The prefix and the tags that a rule is for, in whichever of its forms it says so."""
    said = rule.get("Filter", {})
    both = said.get("And", said)
    tags = [*both.get("Tags", []), *([both["Tag"]] if "Tag" in both else [])]
    prefix = both.get("Prefix") or rule.get("Prefix") or ""
    return prefix, tuple(sorted((tag["Key"], tag["Value"]) for tag in tags))


def _code(error: Exception) -> str:
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code") or "")


def _explained(error: Exception, location: Location, doing: str, right: str) -> XComError:
    if isinstance(error, XComError):
        return error
    if (code := _code(error)) in ("AccessDenied", "403"):
        what = f"The credentials may not {doing} the lifecycle rules of bucket {location.bucket}"
        return StoreDenied(what, f"Allow {right}, or let somebody do it who may.")
    if code in ("NotImplemented", "MethodNotAllowed", "405", "501"):
        what = f"The server of {location.url} has no lifecycle rules ({code})"
        return StoreError(what, "What is over stays there until it is collected.")
    return explain_boto(error, location.url)
