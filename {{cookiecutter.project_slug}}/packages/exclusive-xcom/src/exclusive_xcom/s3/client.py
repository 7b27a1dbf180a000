"""An object store as this package sees it: where it is, and a client that speaks in this package's errors.

There is one client per process and location, made on first use. A process that was forked after its
parent had used one gets none: the threads that do obstore's work stay behind, and it would wait for ever.
"""

from __future__ import annotations

import functools
import os
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from .. import config
from . import login as s3_login
from ..address import Attempt
from ..errors import BadOption, StoreDenied, StoreError, StoreMisconfigured, XComError
from .errors import NO_RANGE, explain
from .login import Login

_SCHEMES = ("s3", "gs", "az", "file", "memory")
_ENCRYPTIONS = {"none": "", "SSE-S3": "AES256", "SSE-KMS": "aws:kms"}
_PATIENCE = {"max_retries": 8, "retry_timeout": timedelta(minutes=2)}  # of each request; obstore pauses
_IMPATIENCE = {"max_retries": 1, "retry_timeout": timedelta(seconds=5)}


@dataclass(frozen=True)
class Location:
    """Where payloads are.

    Attributes:
        url: without a slash at its end.
        scheme: s3, gs, az, file or memory.
        bucket: or container; "" for a folder.
        prefix: the path in the bucket, without a slash at its ends; of a folder, its own path.
        conn_id: the Airflow connection that leads there; "" for none.
        former: whether it is only read and deleted from, as the place where payloads were once.
    """

    url: str
    scheme: str
    bucket: str
    prefix: str
    conn_id: str = ""
    former: bool = False

    @staticmethod
    def current() -> Location | None:
        """AIRFLOW__XCOM__URL; None if it is not set. Raises `BadOption`."""
        return _location("url", config.text("url"), config.text("conn_id"))

    @staticmethod
    def before() -> Location | None:
        """AIRFLOW__XCOM__FORMER_URL; None if it is not set. Raises `BadOption`."""
        return _location("former_url", config.text("former_url"), config.text("former_conn_id"))


@functools.cache
def _location(option: str, url: str, conn_id: str) -> Location | None:
    url = url.rstrip("/")
    if not url:
        return None
    parts = urlsplit(url)
    path = unquote(parts.path)
    places = path.removeprefix("/").split("/")
    rule = ""
    if parts.scheme not in _SCHEMES:
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
        raise BadOption(
            f"Option AIRFLOW__XCOM__{option.upper()} must {rule}",
            "Correct it in config/airflow.env or in the environment.",
        )
    prefix = path if parts.scheme == "file" else parts.path.strip("/")
    return Location(url, parts.scheme, parts.netloc, prefix, conn_id, option == "former_url")


class Client:
    """Reads and writes objects below a location. Every method raises `StoreError` or `PayloadMissing`.

    Attributes:
        ranges: false once the server has answered a ranged request wrongly.
    """

    def __init__(self, location: Location, *, patient: bool = True) -> None:
        self.location = location
        self.login = Login(location.url, location.conn_id)
        self.ranges = True
        self._retries = _PATIENCE if patient else _IMPATIENCE
        self._encryption, self._key = "none", ""
        self._attributes: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._encryption_confirmed = False
        if not location.former:  # the options are about what is written
            self._encryption = config.choice("sse", "none", tuple(_ENCRYPTIONS))
            self._key = config.text("sse_kms_key_id")
            self._tags = _tags(config.text("tags"))
            if storage_class := config.text("storage_class"):
                self._attributes["Storage-Class"] = storage_class

    @contextmanager
    def explained(self, doing: str, uri: str = "") -> Iterator[None]:
        """Turn whatever obstore raises into this package's errors. See `s3_errors.explain`."""
        try:
            yield
        except XComError:
            raise
        except Exception as error:
            raise self.login.trouble or explain(error, self.location.url, doing, uri) from None

    @functools.cached_property
    def store(self) -> Any:
        """obstore's client, with the location's path as its prefix."""
        from obstore import store

        scheme, prefix = self.location.scheme, self.location.prefix
        if scheme != "s3" and (self._encryption != "none" or self._key):
            raise StoreMisconfigured(
                f"AIRFLOW__XCOM__SSE asks for S3's encryption, which {scheme}:// does not have",
                "Remove it, and have the bucket or the disk encrypt.",
            )
        if scheme == "memory":
            self.login.source = "none needed: memory of this process"
            return store.MemoryStore()
        if scheme == "file":
            self.login.source = "none needed: a folder"
            return store.LocalStore(prefix, mkdir=True)
        if scheme == "gs":
            self.login.source = "Google's application default credentials"
        elif scheme == "az":
            self.login.source = "Azure's environment variables or identity"
            if not os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
                raise StoreMisconfigured(
                    f"Nothing says in which storage account {self.location.url} is",
                    "Set AZURE_STORAGE_ACCOUNT_NAME where tasks run.",
                )
        else:
            s3_login.aws(self.login)
            if self._key and self._encryption != "SSE-KMS":  # S3 would ignore the key and not encrypt
                raise StoreMisconfigured(
                    "AIRFLOW__XCOM__SSE_KMS_KEY_ID names a key, but AIRFLOW__XCOM__SSE is not SSE-KMS",
                    "Set AIRFLOW__XCOM__SSE=SSE-KMS, or remove the key.",
                )
            self.login.config |= {"disable_bulk_delete": True}  # not every server knows bulk requests
            if self._encryption != "none":
                self.login.config["server_side_encryption"] = _ENCRYPTIONS[self._encryption]
            if self._key:
                self.login.config["sse_kms_key_id"] = self._key
            if self.login.provide:
                self.login.config["credential_provider"] = self.login.provide
        make = {"s3": store.S3Store, "gs": store.GCSStore, "az": store.AzureStore}[scheme]
        return make(
            self.location.bucket,
            prefix=prefix or None,
            client_options=self.login.client_options(),
            retry_config=self._retries,
            **self.login.config,
        )

    def put(
        self,
        name: str,
        pieces: Iterable[memoryview],
        media_type: str,
        attempt: Attempt,
        *,
        part: int = 0,
        parallel: int = 1,
    ) -> None:
        """Store an object.

        Args:
            part: bytes of each part of a multipart upload, for which `pieces` may be a stream; 0: one
                request.
            parallel: how many parts travel at once.

        Raises:
            Exception: obstore's own, so that the caller can tell what to repeat; see `explained`.
        """
        import obstore

        more: dict[str, Any] = {}
        if self.location.scheme != "file":  # a file has none
            more["attributes"] = {
                **self._attributes,
                "Content-Type": media_type,
                # Names that S3, Google Cloud and Azure all take; Azure takes no empty value.
                "trynumber": str(attempt.try_number),
                **({"taskinstance": attempt.ti_id} if attempt.ti_id else {}),
            }
            # Not on Google Cloud, which has no tags of objects.
            more["tags"] = self._tags if self._tags and self.location.scheme in ("s3", "az") else None
        if part:
            more |= {"chunk_size": part, "max_concurrency": parallel}
        obstore.put(self.store, name, pieces, use_multipart=bool(part), **more)

    def get(self, name: str) -> Any:
        """obstore's answer to a GET; its body is not read yet. Raises obstore's own errors."""
        import obstore

        return obstore.get(self.store, name)

    def read_range(self, name: str, start: int, end: int, uri: str = "") -> memoryview | None:
        """Some bytes of an object; None if the server does not know how."""
        import obstore

        with self.explained("read", uri):
            try:
                piece = memoryview(obstore.get_range(self.store, name, start=start, end=end))
                if piece.nbytes == end - start:
                    return piece
            except obstore.exceptions.GenericError as error:
                if not NO_RANGE.search(str(error)):
                    raise
        self.ranges = False
        return None

    def delete(self, name: str, uri: str = "") -> None:
        """Delete an object. That it is gone already is no error."""
        import obstore

        with self.explained("delete from", uri):
            try:
                obstore.delete(self.store, name)
            except FileNotFoundError as error:
                if "<Code>" in str(error) and "NoSuchKey" not in str(error):
                    raise

    def entries(self) -> Iterator[Any]:
        """obstore's description of every object: path, size, last_modified."""
        import obstore

        with self.explained("list"):
            pages = iter(obstore.list(self.store))
        while True:
            with self.explained("list"):
                page = next(pages, None)
            if page is None:
                return
            yield from page

    def resolve(self) -> str:
        """Where the credentials are from, once it is certain that there are some."""
        with self.explained("use"):
            _ = self.store
            if self.login.provide:
                self.login.provide()
        return self.login.source

    def confirm_encryption(self, name: str) -> str:
        """Once per process, look whether an object was encrypted as asked. If not, it is deleted.

        Returns:
            What was found, for people.

        Raises:
            StoreMisconfigured: it was not.
        """
        if self._encryption == "none":
            return "not asked for (AIRFLOW__XCOM__SSE)"
        if self._encryption_confirmed:
            return f"{self._encryption}, confirmed"
        wanted, headers = _ENCRYPTIONS[self._encryption], self._head(name)
        given = headers.get("x-amz-server-side-encryption", "no")
        key = headers.get("x-amz-server-side-encryption-aws-kms-key-id", "")
        # An alias is not what the answer names; an id may be given with or without its account.
        same_key = not self._key or "alias/" in self._key or _last(key) == _last(self._key)
        if given != wanted or not same_key:
            self.delete(name)
            raise StoreMisconfigured(
                f"{self.location.url} was asked to encrypt by {self._encryption}"
                + (f" with key {self._key}" if self._key else "")
                + f", and answered with {'another key' if given == wanted else given + ' encryption'}",
                "Correct AIRFLOW__XCOM__SSE, or use a server that encrypts. The payload was deleted again.",
            )
        self._encryption_confirmed = True
        return f"{self._encryption}, confirmed"

    def _head(self, name: str) -> Any:
        """The headers of a HEAD request, which obstore keeps to itself."""
        import obstore

        with self.explained("read"):
            url = obstore.sign(self.store, "HEAD", name, timedelta(minutes=5))
        context = ssl.create_default_context(
            cafile=self.login.verify if isinstance(self.login.verify, str) else None
        )
        if self.login.verify is False:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.headers
        except OSError as error:  # the signed URL is a secret: nothing of it may get out
            status = error.code if isinstance(error, urllib.error.HTTPError) else 0
            raise StoreDenied(
                f"Whether {self.location.url} encrypts could not be seen ({status or type(error).__name__})",
                "Allow the credentials to read what they write (s3:GetObject).",
            ) from None


def _last(key: str) -> str:
    return key.rpartition("/")[2]


def _tags(text: str) -> dict[str, str]:
    """`team=data,env=prod` as a dict. Raises `BadOption`."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name.strip() and sign for name, sign, _ in pairs):
        raise BadOption(
            f"Option AIRFLOW__XCOM__TAGS is {text!r}, but must be name=value,name=value",
            "Correct it in config/airflow.env or in the environment.",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


# -- one client per process and location ------------------------------------------------------------

_clients: dict[Location, Client] = {}
_lock = threading.Lock()
_maker = 0  # the process that made them


def client_of(location: Location) -> Client:
    """This process's client of a location. Raises `StoreError`."""
    global _maker
    with _lock:
        if location not in _clients or _maker != os.getpid():
            if _maker not in (0, os.getpid()):
                raise StoreError(
                    "This process was forked from one that had used the object store, so it can't use it",
                    "Start processes by multiprocessing's 'spawn' or 'forkserver', or fork them before the "
                    "first XCom is read or written.",
                )
            _maker = os.getpid()
            client = Client(location)
            with client.explained("open"):
                _ = client.store  # made here, under the lock, so that there is one
            _clients[location] = client
        return _clients[location]


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)
