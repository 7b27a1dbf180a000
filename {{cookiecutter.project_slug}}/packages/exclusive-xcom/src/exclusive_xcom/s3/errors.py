"""What the errors of an object store mean: which of the many ways to fail it was, and what to do.

obstore's own texts hold whole URLs and answers, which may hold a secret: they are read here and not shown.
"""

from __future__ import annotations

import errno
import os
import re
from urllib.parse import urlsplit

from ..errors import (
    PayloadMissing,
    StoreDenied,
    StoreError,
    StoreMisconfigured,
    StoreUnreachable,
    XComError,
)

_LATER = "Let the task run again; if it goes on, look at the store's own health."
_CREDENTIALS = (
    "Correct the Airflow connection that AIRFLOW__XCOM__CONN_ID names, or the environment's credentials."
)
_REGION = "Set region_name in the Airflow connection, or AWS_REGION where tasks run."
_ENDPOINT = "Check endpoint_url in the Airflow connection (or AWS_ENDPOINT_URL) and AIRFLOW__XCOM__URL."
_BUCKET = (
    "Create it, or correct AIRFLOW__XCOM__URL; on a server of your own, also endpoint_url in the connection."
)

_EXPIRED = (StoreDenied, "The credentials for {where} have expired", f"Renew them. {_CREDENTIALS}")
_UNKNOWN_KEY = (StoreDenied, "The store does not know the access key for {where}", _CREDENTIALS)
_NO_BUCKET = (StoreMisconfigured, "The bucket of {where} does not exist", _BUCKET)
_OTHER_REGION = (StoreMisconfigured, "The bucket of {where} is in another region", _REGION)

# Error codes of S3; GCS and Azure share some of them.
_CODES: dict[str, tuple[type[StoreError], str, str]] = {
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "ContainerNotFound": _NO_BUCKET,
    "ExpiredToken": _EXPIRED,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidBucketName": (
        StoreMisconfigured,
        "{where} does not name a valid bucket",
        "Correct AIRFLOW__XCOM__URL.",
    ),
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "InvalidToken": (StoreDenied, "The session token for {where} is not valid", _CREDENTIALS),
    "NoSuchBucket": _NO_BUCKET,
    "PermanentRedirect": _OTHER_REGION,
    "RequestTimeTooSkewed": (
        StoreDenied,
        "The clock of this machine is too far from that of {where}",
        "Set the clock; S3 allows fifteen minutes.",
    ),
    "SignatureDoesNotMatch": (StoreDenied, "The secret key for {where} is wrong", _CREDENTIALS),
    "TokenRefreshRequired": _EXPIRED,
}

# What obstore's debug text says of a certificate.
_CERTIFICATES = {
    "UnknownIssuer": "this machine trusts nobody who signed the certificate",
    "Expired": "the certificate has expired",
    "NotValidForName": "the certificate is for another host",
}


# What obstore says of a server that answers the request for a range with something else.
NO_RANGE = re.compile(r"range requested|Content-Range|CONTENT_RANGE|Requested .*, got")


def explain(error: Exception, where: str, doing: str, uri: str = "") -> XComError:
    """The error of this package that says what an error of obstore means.

    Args:
        where: the URL of the location.
        doing: what was tried there: "write to", "read", "delete from", "list".
        uri: the payload that was to be read or deleted, if one was.
    """
    text, _, debug = str(error).partition("Debug source:")
    if isinstance(error, ImportError):
        return StoreMisconfigured(
            f"{where} cannot be used without a library that is not installed ({error})",
            "Install it with `uv sync --extra s3` where this task runs.",
        )
    found = re.search(r"status code: (\d{3})", text)
    status = int(found[1]) if found else 0
    code = found[1] if (found := re.search(r"<Code>([\w.]+)</Code>", text)) else ""
    if status == 301 or "redirect without LOCATION" in text:
        code = "PermanentRedirect"
    if code in _CODES:
        kind, what, advice = _CODES[code]
        region = re.search(r"expecting '([\w-]+)'", text)
        return kind(what.format(where=where) + (f", {region[1]}" if region else ""), advice)
    if isinstance(error, FileNotFoundError) and uri:
        return PayloadMissing(
            f"The payload at {uri} is gone",
            "It was deleted, or expired by a rule of the bucket. Run the task that pushed it again.",
        )
    if status:
        return _answered(status, code, where, doing)
    if where.startswith("file:"):
        return _of_folder(text, where, doing)
    return _not_answered(text, debug, where, doing, type(error).__name__)


def _answered(status: int, code: str, where: str, doing: str) -> XComError:
    answer = f"{status} {code}".strip()
    if status in (401, 403):
        # On AWS also the answer to a payload that is gone, unless s3:ListBucket is allowed.
        return StoreDenied(
            f"The credentials may not {doing} {where} ({answer})",
            "Allow it (README, 'A store of your own', says what is needed), or use other credentials.",
        )
    if code.startswith("KMS"):
        return StoreMisconfigured(
            f"The encryption key for {where} cannot be used ({answer})",
            "Check AIRFLOW__XCOM__SSE_KMS_KEY_ID, and that the credentials may use the key.",
        )
    if status >= 500 or status in (408, 409, 429):
        return StoreUnreachable(f"The store went on answering {answer} when asked to {doing} {where}", _LATER)
    return StoreMisconfigured(f"The store refused to {doing} {where} ({answer})", _ENDPOINT)


def _not_answered(text: str, debug: str, where: str, doing: str, name: str) -> XComError:
    found = re.search(r"https?://[^/\s,]+", text)
    host = urlsplit(found[0]).netloc.rpartition("@")[2] if found else where
    if name in ("UnauthenticatedError", "PermissionDeniedError"):
        return StoreDenied(f"There are no usable credentials for {where}", _CREDENTIALS)
    if "ETag Header missing" in text or "Error parsing" in text:
        return StoreMisconfigured(f"{host} does not answer as an object store does", _ENDPOINT)
    if re.search(r"InvalidCertificate|InvalidContentType|AlertReceived|HandshakeFailure", debug):
        found = re.search(r"InvalidCertificate\(\s*([A-Z][a-z]+(?:[A-Z][a-z]+)*?)(?:Context)?\b", debug)
        reason = _CERTIFICATES.get(found[1], "the certificate is not acceptable") if found else "no TLS there"
        return StoreUnreachable(
            f"The TLS connection to {host} failed: {reason}",
            "Check whether endpoint_url is https:// or http://, and that this machine trusts the certificate "
            "(`verify` in the Airflow connection, or AWS_CA_BUNDLE).",
        )
    for sign, what in (
        ("dns error", f"There is no host {host}"),
        ("ConnectionRefused", f"Nothing listens at {host}"),
        ("TimedOut", f"{host} did not answer in time"),
    ):
        if sign in debug:
            return StoreUnreachable(f"{what}, so {where} cannot be reached", _ENDPOINT)
    if found or "HTTP error" in text or NO_RANGE.search(text):
        return StoreUnreachable(f"The connection to {host} broke while trying to {doing} {where}", _LATER)
    return StoreMisconfigured(f"{where} cannot be used ({name})", _ENDPOINT)


def _of_folder(text: str, where: str, doing: str) -> XComError:
    found = re.search(r"os error (\d+)", text)
    number = int(found[1]) if found else 0
    reason = os.strerror(number) if number else "the file system failed"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreDenied(
            f"This user may not {doing} {where} ({reason})",
            "Give it the rights to the folder, or choose another.",
        )
    return StoreUnreachable(
        f"It was not possible to {doing} {where}: {reason}", "Look at the disk or the share."
    )


def explain_boto(error: Exception, where: str) -> XComError:
    """What a failure of boto3 to find credentials means."""
    name = type(error).__name__
    code = str((getattr(error, "response", None) or {}).get("Error", {}).get("Code") or "")
    if isinstance(error, ImportError):
        return explain(error, where, "use")
    if code in _CODES:
        kind, what, advice = _CODES[code]
        return kind(what.format(where=where), advice)
    if "Connection" in name or "Timeout" in name:
        return StoreUnreachable(f"AWS could not be asked for the credentials for {where} ({name})", _LATER)
    # What could not be parsed is shown in full by boto3, and might be credentials.
    reason = code or (name if "Parser" in name else f"{name}: {' '.join(str(error).split())[:200]}")
    return StoreDenied(f"AWS gave no credentials for {where} ({reason})", _CREDENTIALS)
