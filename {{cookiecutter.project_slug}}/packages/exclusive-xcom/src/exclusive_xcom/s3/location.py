"""Where payloads are: the URL of a bucket's prefix or of a folder, as an option gives it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from .. import config
from ..errors import BadOption

SCHEMES = frozenset({"s3", "gs", "az", "file", "memory"})


@dataclass(frozen=True)
class Location:
    """Where payloads are, and the Airflow connection that leads there; "" for none."""

    url: str  # without a slash at its end
    scheme: str
    bucket: str  # or container; "" for a folder
    prefix: str  # the path in the bucket, without a slash at its ends; of a folder, its own path
    conn_id: str = ""

    @staticmethod
    def current() -> Location | None:
        """AIRFLOW__XCOM__URL; None if it is not set. Raises `BadOption`."""
        return _location(config.URL.variable, config.URL.read(), config.CONN_ID.read())

    @staticmethod
    def before() -> Location | None:
        """AIRFLOW__XCOM__FORMER_URL; None if it is not set. Raises `BadOption`."""
        return _location(config.FORMER_URL.variable, config.FORMER_URL.read(), config.FORMER_CONN_ID.read())


@functools.cache
def _location(variable: str, url: str, conn_id: str) -> Location | None:
    url = url.rstrip("/")
    if not url:
        return None
    parts = urlsplit(url)
    path = unquote(parts.path)
    places = path.removeprefix("/").split("/")
    rule = ""
    if parts.scheme not in SCHEMES:
        rule = "begin with s3://, gs://, az:// or file://"
    elif "?" in url or "#" in url or ("@" in url and parts.scheme != "file"):
        rule = "have no user, query or fragment; credentials belong into an Airflow connection"
    elif parts.scheme == "file" and (parts.netloc or places == [""]):
        rule = "name a folder, as file:///a/folder"
    elif parts.scheme in ("s3", "gs", "az") and not parts.netloc:
        rule = f"name a bucket, as {parts.scheme}://bucket/prefix"
    elif places != [""] and not {"", ".", ".."}.isdisjoint(places):
        rule = "have no empty part, '.' or '..' in its path"
    if rule:  # the URL itself is not shown: there may be a password in it
        advice = "Correct it in config/airflow.env or in the environment."
        raise BadOption(f"Option {variable} must {rule}", advice)
    prefix = path if parts.scheme == "file" else parts.path.strip("/")
    return Location(url, parts.scheme, parts.netloc, prefix, conn_id)
