"""Old versions of objects: what a bucket with versioning keeps of what was deleted."""

from __future__ import annotations

from typing import Any

from ..errors import StoreDenied, XComError
from .errors import explain_boto
from .location import Location
from .login import boto_client


class Versions:
    """Those below a location, in a bucket that keeps versions.

    Args:
        client: boto3's.
    """

    def __init__(self, client: Any, location: Location) -> None:
        self._client, self._location, self.bucket = client, location, location.bucket

    @classmethod
    def of(cls, location: Location) -> Versions | None:
        """None for a bucket that keeps none. Raises `StoreError`, also if it may not be asked."""
        client = boto_client(location)
        try:
            state = client.get_bucket_versioning(Bucket=location.bucket).get("Status")
        except Exception as error:
            if _code(error) in ("NotImplemented", "MethodNotAllowed", "405", "501"):
                return None
            raise _explained(error, location, "ask whether it keeps", "s3:GetBucketVersioning") from None
        return cls(client, location) if state else None

    def purge(self, uri: str) -> int:
        """Delete all versions of an object, and the marks of its deletion; how many these were. Raises
        `StoreError`: the credentials need s3:ListBucketVersions and s3:DeleteObjectVersion."""
        bucket = self.bucket
        key = uri.removeprefix(f"s3://{bucket}/")
        number = 0
        try:
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
            for page in pages:
                for found in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    if found["Key"] == key:
                        self._client.delete_object(Bucket=bucket, Key=key, VersionId=found["VersionId"])
                        number += 1
        except Exception as error:
            rights = "s3:ListBucketVersions and s3:DeleteObjectVersion"
            raise _explained(error, self._location, "delete", rights) from None
        return number


def _explained(error: Exception, location: Location, doing: str, rights: str) -> XComError:
    if _code(error) in ("AccessDenied", "403"):
        what = f"The credentials may not {doing} old versions in bucket {location.bucket}"
        return StoreDenied(what, f"Allow {rights}.")
    return explain_boto(error, location.url)


def _code(error: Exception) -> str:
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code") or "")
