"""What a bucket of S3's keeps beside its objects: uploads in parts that nobody finished, and old versions.

Google Cloud and Azure end unfinished uploads themselves, after a week.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import StoreDenied, XComError
from ..handle import human_size
from ..s3.errors import explain_boto
from ..s3.location import Location
from ..s3.login import boto_client

Upload = tuple[str, str, float]  # name, id, and when it began by the store's clock
_GONE = ("NoSuchUpload",)
# Also what a server says that takes `?uploads` for the name of one.
_UNKNOWN = ("NoSuchUpload", "NotImplemented", "MethodNotAllowed", "405", "501")
_FORBIDDEN = ("AccessDenied", "403")


class Unlisted(Exception):
    """The bucket does not tell. The text says of what, and why."""


class Bucket:
    """The bucket of a location, with what is below its prefix."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._begin = f"{location.prefix}/" if location.prefix else ""
        self._made: Any = None

    @property
    def _client(self) -> Any:
        self._made = self._made or boto_client(self.location)
        return self._made

    def uploads(self) -> list[Upload]:
        """The unfinished uploads, in order. There are few. Raises `Unlisted`, and `StoreError`."""
        return sorted(self._uploads())

    def _uploads(self) -> Iterator[Upload]:
        with self._told("Unfinished uploads", "s3:ListBucketMultipartUploads"):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.location.bucket, Prefix=self._begin):
                for found in page.get("Uploads", ()):
                    name = found["Key"].removeprefix(self._begin)
                    yield name, found["UploadId"], found["Initiated"].timestamp()

    def abort(self, name: str, upload: str) -> None:
        """End an unfinished upload. That it is gone already is no error. Raises `StoreError`."""
        place = {"Bucket": self.location.bucket, "Key": f"{self._begin}{name}", "UploadId": upload}
        try:
            self._client.abort_multipart_upload(**place)
        except Exception as error:
            if _code(error) not in _GONE:
                raise _explained(
                    error, self.location, "end an unfinished upload", "AbortMultipartUpload"
                ) from None

    def old_versions(self) -> str:
        """What is to be said of old versions; "" if there are none. Raises `Unlisted`, `StoreError`."""
        with self._told("Old versions", "s3:GetBucketVersioning and s3:ListBucketVersions"):
            if not self._client.get_bucket_versioning(Bucket=self.location.bucket).get("Status"):
                return ""
            number = size = 0
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self.location.bucket, Prefix=self._begin):
                for found in page.get("Versions", ()):
                    number += not found["IsLatest"]
                    size += 0 if found["IsLatest"] else found["Size"]
        return (
            f"The bucket keeps versions: old ones of {number:,} payloads take {human_size(size)} there, and "
            "what is deleted becomes one. Nothing here ends them: let a lifecycle rule do so "
            "(NoncurrentVersionExpiration)."
        )

    @contextmanager
    def _told(self, what: str, right: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            code = _code(error)
            if code in _UNKNOWN:
                raise Unlisted(f"{what} are not looked at: the server can't list them.") from None
            if code in _FORBIDDEN:
                raise Unlisted(f"{what} are not looked at: that needs the right {right}.") from None
            raise _explained(error, self.location, "", "") from None


def _code(error: Exception) -> str:
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code") or "")


def _explained(error: Exception, location: Location, doing: str, right: str) -> XComError:
    if right and _code(error) in _FORBIDDEN:
        return StoreDenied(
            f"The credentials may not {doing} in bucket {location.bucket}", f"Allow s3:{right}."
        )
    return explain_boto(error, location.url)
