"""Opens an object store: obstore's client for each scheme, and with whose credentials.

An Airflow connection (type `aws`) may hold keys, a session token, role_arn, profile_name, region_name,
endpoint_url and verify, as the Amazon provider has them; the provider itself is not needed. Without
these AWS's own chain counts. Google Cloud and Azure use the credentials of their environment. What else
AWS's own variables say, of encryption above all, obstore reads itself.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from ..connections import connection
from ..errors import StoreError, StoreMisconfigured
from .client import Client, Limits, Provider
from .errors import explain, explain_boto
from .folder import Folder
from .location import Location

ENCRYPTION, ENCRYPTION_KEY = "AWS_SERVER_SIDE_ENCRYPTION", "AWS_SSE_KMS_KEY_ID"

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
# boto3 renews what it finds ten minutes before it expires, so it holds good for nine.
_FRESH = timedelta(minutes=9)


def open_location(location: Location, limits: Limits | None = None) -> Client:
    """A client of a store, of which nothing is asked yet; its requests have these limits, or those of their
    lengths. Raises `StoreError` if there can be none."""
    try:
        client = _client(location)
        client.limits = limits
        client.store()  # what is wrong with its options is told here
    except Exception as error:
        raise explain(error, location.url, "open") from None
    return client


def _client(location: Location) -> Client:
    from obstore import store

    match location.scheme:
        case "s3":
            return _amazon(store.S3Store, location)
        case "gs":
            source = "Google's application default credentials"
            return Client(location, source, partial(_bucket, store.GCSStore, location))
        case "az":
            source = "Azure's environment variables or identity"
            return Client(location, source, partial(_bucket, store.AzureStore, location))
        case "file":
            os.makedirs(location.prefix, mode=0o700, exist_ok=True)
            return Folder(location, "none needed: a folder", lambda limits: None)
        case _:
            memory = store.MemoryStore()
            return Client(location, "none needed: memory of this process", lambda limits: memory)


def _bucket(kind: Any, location: Location, limits: Limits, *, verify: bool | str = True, **more: Any) -> Any:
    """A bucket, with our settings of the HTTP client. Raises `StoreMisconfigured`."""
    endpoints = (more.get("aws_endpoint_url_s3"), *map(os.environ.get, _ENDPOINTS))
    times = {
        "timeout": limits.whole,
        "read_timeout": limits.silence,
        "connect_timeout": min(10, limits.silence),
    }
    options: dict[str, Any] = {name: f"{seconds} s" for name, seconds in times.items()}
    options |= {"allow_http": next(filter(None, endpoints), "").startswith("http://")}
    if verify is False:
        options["allow_invalid_certificates"] = True
    elif bundle := verify if isinstance(verify, str) else os.environ.get("AWS_CA_BUNDLE"):
        try:
            options["root_certificate"] = Path(bundle).read_bytes()
        except OSError as error:
            raise StoreMisconfigured(
                f"The file of trusted certificates {bundle} cannot be read ({error.strerror})",
                "Correct `verify` in the Airflow connection, or AWS_CA_BUNDLE.",
            ) from None
    # obstore pauses between them.
    retries = {
        "max_retries": 8 if limits.repeated > 60 else 1,
        "retry_timeout": timedelta(seconds=limits.repeated),
    }
    place = location.prefix or None
    return kind(location.bucket, prefix=place, client_options=options, retry_config=retries, **more)


def _amazon(kind: Any, location: Location) -> Client:
    """Plain keys are used as they are. Everything else (roles, profiles, SSO, web identity, the identity of
    a machine or container) is boto3's business, which takes half a second to import."""
    if os.environ.get(ENCRYPTION_KEY) and not os.environ.get(ENCRYPTION, "").startswith("aws:kms"):
        raise StoreMisconfigured(  # S3 would ignore the key and not encrypt
            f"{ENCRYPTION_KEY} names a key, but {ENCRYPTION} is not aws:kms",
            f"Set {ENCRYPTION}=aws:kms, or remove the key.",
        )
    asked = _connection(location.conn_id) if location.conn_id else {}
    owner = f"connection {location.conn_id!r}" if location.conn_id else "AWS's own chain"
    verify, key, role = _verify(asked), asked.get("aws_access_key_id"), asked.get("role_arn")
    region, endpoint = asked.get("region_name"), asked.get("endpoint_url")
    find: Callable[[], Any] | None = None
    if key and not role:
        given = _credentials(key, asked.get("aws_secret_access_key", ""), asked.get("aws_session_token"))
        source, find = f"keys of {owner}", lambda: given
    elif all(map(os.environ.get, _KEYS)) and not role and "profile_name" not in asked:
        source = "keys in the environment (AWS_ACCESS_KEY_ID)"  # obstore reads them itself
    else:
        try:
            source, find, region, endpoint = _by_boto3(asked, owner, verify)
        except Exception as error:
            raise explain_boto(error, location.url) from None
    # The name of an endpoint that an AWS_ENDPOINT_URL_S3 in the environment does not override.
    places = {"region": region, "aws_endpoint_url_s3": endpoint}
    more: dict[str, Any] = {name: value for name, value in places.items() if value}
    provider = more["credential_provider"] = Provider(location.url, find) if find else None
    # Not every server knows bulk requests.
    make = partial(_bucket, kind, location, verify=verify, disable_bulk_delete=True, **more)
    return Client(location, source, make, provider, verify)


def _by_boto3(
    asked: dict[str, Any], owner: str, verify: bool | str
) -> tuple[str, Callable[[], Any], str | None, str]:
    """Where boto3 finds credentials, what finds and renews them, and the region and endpoint that belong to
    them: a profile may name these, in more than one way. Raises boto3's own errors."""
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region_name", "profile_name")
    session = boto3.Session(**{name: asked.get(name) for name in names})
    region, wanted = session.region_name, asked.get("endpoint_url")
    endpoint = session.client("s3", region_name=region or "us-east-1", endpoint_url=wanted).meta.endpoint_url
    if role := asked.get("role_arn"):
        return f"role {role}, assumed by {owner}", lambda: _assume(session, asked, verify), region, endpoint
    profile = asked.get("profile_name")
    source = f"profile {profile} of {owner}" if profile else owner
    return source, Boto3CredentialProvider(session, ttl=_FRESH), region, endpoint


def boto_client(location: Location) -> Any:
    """boto3's client, with the same credentials, for what obstore does not do. Raises `StoreError`."""
    try:
        import boto3

        asked = _connection(location.conn_id) if location.conn_id else {}
        verify, role = _verify(asked), asked.get("role_arn")
        names = ("region_name", "profile_name")
        keys = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        session = boto3.Session(**{name: asked.get(name) for name in (*names, *keys)})
        if role:
            found = _assume(session, asked, verify)
            given = (found["access_key_id"], found["secret_access_key"], found["token"])
            session = boto3.Session(region_name=session.region_name, **dict(zip(keys, given, strict=True)))
        region, endpoint = session.region_name or "us-east-1", asked.get("endpoint_url")
        return session.client("s3", region_name=region, endpoint_url=endpoint, verify=verify)
    except Exception as error:
        raise explain_boto(error, location.url) from None


def _assume(session: Any, asked: dict[str, Any], verify: bool | str) -> dict[str, Any]:
    """The credentials of a role, for as long as AWS grants them. obstore's own provider for roles does not
    know `verify`, and gives times that obstore does not take."""
    wanted = {"RoleArn": asked["role_arn"], "RoleSessionName": "airflow-xcom"}
    wanted |= asked.get("assume_role_kwargs", {})
    if "external_id" in asked:
        wanted["ExternalId"] = asked["external_id"]
    given = session.client("sts", verify=verify).assume_role(**wanted)["Credentials"]
    expires = given["Expiration"].astimezone(UTC)
    return _credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], expires)


def _credentials(key: str, secret: str, token: str | None, expires: Any = None) -> dict[str, Any]:
    return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": expires}


def _connection(conn_id: str) -> dict[str, Any]:
    """What an Airflow connection says, by the names of its extra. Raises `StoreMisconfigured`."""
    found = connection(conn_id, "aws://key:secret@/?region_name=eu-central-1")
    extra = found.extra_dejson
    if (method := extra.get("assume_role_method") or "assume_role") != "assume_role":
        raise StoreMisconfigured(
            f"Connection {conn_id!r} asks for {method}, which this backend does not do",
            "Leave keys and role out of it, and let AWS's own chain find the identity.",
        )
    own = {"aws_access_key_id": found.login, "aws_secret_access_key": found.password}
    s3 = (extra.get("service_config") or {}).get("s3") or {}
    # Airflow's UI makes empty text of what is not given.
    given = (*extra.items(), *own.items(), ("endpoint_url", s3.get("endpoint_url")))
    return {name: value for name, value in given if value not in ("", None)}


def _verify(asked: dict[str, Any]) -> bool | str:
    """Whether certificates are checked, or the file of those to trust. Airflow's UI makes text of either."""
    text = str(asked.get("verify", True)).strip()
    return text.lower() != "false" if text.lower() in ("true", "false", "none", "") else text


# -- one client per process and location ------------------------------------------------------------

_clients: dict[Location, Client] = {}
_lock = threading.Lock()
_forked = False  # from a process that had clients: the threads that do obstore's work stayed behind there


def client_of(location: Location) -> Client:
    """This process's client of a location, made on first use. Raises `StoreError`."""
    with _lock:
        if _forked:
            raise StoreError(
                "This process was forked from one that had used the object store, so it can't use it",
                "Start processes by multiprocessing's 'spawn' or 'forkserver', or fork them before the "
                "first XCom is read or written.",
            )
        if location not in _clients:
            _clients[location] = open_location(location)  # made here, under the lock, so that there is one
        return _clients[location]


def _after_fork() -> None:
    global _lock, _forked
    _forked = _forked or bool(_clients) or _lock.locked()
    _lock = threading.Lock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)
