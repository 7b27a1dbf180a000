"""What the errors of an object store mean: which of the many ways to fail it was, and what to do.

obstore's own texts hold whole URLs and answers, which may hold a secret: they are read here and not shown.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from ..errors import (
    PayloadMissing,
    Refusal,
    StoreDenied,
    StoreMisconfigured,
    StoreUnreachable,
    XComError,
    refused,
)

# What obstore says of a server that answers the request for a range with something else.
NO_RANGE = re.compile(r"range requested|Content-Range|CONTENT_RANGE|Requested .*, got")

_BROKEN = rf"https?://[^/\s,]|HTTP error|{NO_RANGE.pattern}"

# Kinds of errors with what to do about them.
_CREDENTIALS = "Correct the connection that AIRFLOW__XCOM__CONN_ID names, or the environment's credentials."
_DENIED = (StoreDenied, _CREDENTIALS)
_EXPIRED = (StoreDenied, f"Renew them. {_CREDENTIALS}")
_IDENTITY = "or give the machine an identity that boto3 finds (environment, profile, role)."
_NOBODY = (StoreDenied, f"Name a connection with keys in AIRFLOW__XCOM__CONN_ID, {_IDENTITY}")
_FORBIDDEN = (StoreDenied, "Allow it (docs/s3.md, 'Rights', says what is needed), or use other credentials.")
_CLOCK = (StoreDenied, "Set the clock; S3 allows fifteen minutes.")
_RIGHTS = (StoreDenied, "Give it the rights to the folder, or choose another.")
_DISK = (StoreUnreachable, "Look at the disk or the share.")
_LATER = (StoreUnreachable, "Let the task run again; if it goes on, look at the store's own health.")
_WHERE = "Check endpoint_url in the Airflow connection (or AWS_ENDPOINT_URL) and AIRFLOW__XCOM__URL."
_ENDPOINT = (StoreMisconfigured, _WHERE)
_NOT_THERE = (StoreUnreachable, _WHERE)
_TRUST = "trusts the certificate (`verify` in the Airflow connection, or AWS_CA_BUNDLE)."
_TLS = (
    StoreUnreachable,
    f"See whether endpoint_url is https:// or http://, and that this machine {_TRUST}",
)
_REGION = (StoreMisconfigured, "Set region_name in the Airflow connection, or AWS_REGION where tasks run.")
_BUCKET = (StoreMisconfigured, f"Create it, unless it is elsewhere. {_WHERE}")
_NAME = (StoreMisconfigured, "Correct AIRFLOW__XCOM__URL.")
_ACCOUNT = (StoreMisconfigured, "Set AZURE_STORAGE_ACCOUNT_NAME where tasks run.")
_KEY = (StoreMisconfigured, "Check AWS_SSE_KMS_KEY_ID, and that the credentials may use the key.")
_ENCRYPTION = (StoreMisconfigured, "Set it to AES256, aws:kms or aws:kms:dsse.")
_DELETED = (
    "It was deleted, expired by a rule of the bucket, or went with a store that does not keep its data."
)
_GONE = (PayloadMissing, f"{_DELETED} Run the task that pushed it again.")

_NO_TLS = "The TLS connection to {host} failed: "


def _table(*rows: tuple[str, str, tuple[type[XComError], str]]) -> list[Refusal]:
    return [(sign, kind, f"{what}. {advice}") for sign, what, (kind, advice) in rows]


# Signs are looked for in "<status> <code> <class> <of what>: <text>"; status 0: there was no answer.
# First, the error codes of S3; GCS and Azure share some of them, and boto3 knows them too.
_CODES = _table(
    (r"^301 |redirect without LOCATION", "The bucket of {where} is in another region", _REGION),
    (r"^\d+ (PermanentRedirect|IllegalLocation)", "The bucket of {where} is in another region", _REGION),
    (r"^\d+ AuthorizationHeaderMal", "The bucket of {where} is in another region{region}", _REGION),
    (r"^\d+ (NoSuchBucket|ContainerNotFound) ", "The bucket of {where} does not exist", _BUCKET),
    (r"^\d+ InvalidBucketName ", "{where} does not name a valid bucket", _NAME),
    (r"^\d+ (ExpiredToken|TokenRefresh)", "The credentials for {where} have expired", _EXPIRED),
    (r"^\d+ Invalid(AccessKey|ClientToken)Id ", "The store does not know the access key to {where}", _DENIED),
    (r"^\d+ InvalidToken ", "The session token for {where} is not valid", _DENIED),
    (r"^\d+ SignatureDoesNotMatch ", "The secret key for {where} is wrong", _DENIED),
    (r"^\d+ RequestTimeTooSkewed ", "The clock of this machine is too far from that of {where}", _CLOCK),
)

_OBSTORE = _CODES + _table(
    (r"^\S+ \S* FileNotFoundError payload", "The payload at {uri} is gone", _GONE),
    # On AWS 403 is also the answer to a payload that is gone, unless s3:ListBucket is allowed.
    (r"^40[13] ", "The credentials may not {doing} {where} ({answer})", _FORBIDDEN),
    (r"^\d+ KMS", "The encryption key for {where} cannot be used ({answer})", _KEY),
    (r"^(5..|408|409|429) ", "The store went on answering {answer} when asked to {doing} {where}", _LATER),
    (r"^[1-9]", "The store refused to {doing} {where} ({answer})", _ENDPOINT),
    # A folder. EPERM, EACCES and EROFS have these numbers on every system.
    (r" file:.*Errno (1|13|30)\b", "This user may not {doing} {where} ({reason})", _RIGHTS),
    (r"^\S+ \S* \w+ \w+ file:", "It was not possible to {doing} {where}: {reason}", _DISK),
    # No answer: what the text and its debug part say of the connection.
    ("Account must be specified", "Nothing says in which storage account {where} is", _ACCOUNT),
    ("Invalid encryption type", "AWS_SERVER_SIDE_ENCRYPTION names no encryption that S3 has", _ENCRYPTION),
    (" (Unauthenticated|PermissionDenied)Error ", "There are no usable credentials for {where}", _DENIED),
    ("ETag Header missing|Error parsing", "{host} does not answer as an object store does", _ENDPOINT),
    (r"InvalidCertificate\(\s*UnknownIssuer", f"{_NO_TLS}nobody trusted has signed the certificate", _TLS),
    (r"InvalidCertificate\(\s*Expired", f"{_NO_TLS}the certificate has expired", _TLS),
    (r"InvalidCertificate\(\s*NotValidForName", f"{_NO_TLS}the certificate is for another host", _TLS),
    (r"InvalidCertificate\(", f"{_NO_TLS}the certificate is not acceptable", _TLS),
    ("InvalidContentType|AlertReceived|HandshakeFailure", f"{_NO_TLS}no TLS there", _TLS),
    ("dns error", "There is no host {host}, so {where} cannot be reached", _NOT_THERE),
    ("ConnectionRefused", "Nothing listens at {host}, so {where} cannot be reached", _NOT_THERE),
    ("TimedOut", "{host} did not answer in time, so {where} cannot be reached", _NOT_THERE),
    (_BROKEN, "The connection to {host} broke while trying to {doing} {where}", _LATER),
    ("", "{where} cannot be used ({name})", _ENDPOINT),
)

_BOTO = _CODES + _table(
    ("Received None from session.get_cred", "No AWS credentials were found for {where}", _NOBODY),
    (r"^0 \S* \w*(Connection|Timeout)", "AWS could not be asked for credentials to {where} ({name})", _LATER),
    ("", "AWS gave no credentials for {where} ({reason})", _DENIED),
)


def explain(error: Exception, where: str, doing: str, uri: str = "") -> XComError:
    """The error of this package that says what an error of obstore means; one of ours stays itself.

    Args:
        where: the URL of the location.
        doing: what was tried there: "write to", "read", "delete from", "open".
        uri: the payload that was to be read or deleted, if one was.
    """
    if isinstance(error, XComError):
        return error
    name, text = type(error).__name__, str(error)
    if isinstance(error, ImportError):
        return StoreMisconfigured(
            f"{where} cannot be used without a library that is not installed ({text})",
            "Add it, by `make add PACKAGES='exclusive-xcom[s3]'` in the project, and install it anew where "
            "this task runs.",
        )
    told = text.partition("Debug source:")[0]
    status, code = _found(r"status code: (\d{3})", told) or "0", _found(r"<Code>([\w.]+)</Code>", told)
    region, number = _found(r"expecting '([\w-]+)'", told), str(getattr(error, "errno", None) or "")
    said = f"{status} {code} {name} {'payload' if uri else 'place'} {where.partition(':')[0]}: {text}"
    facts = {
        "answer": f"{status} {code}".strip(),
        "region": region and f", {region}",
        "host": urlsplit(_found(r"(https?://[^/\s,]+)", told)).netloc.rpartition("@")[2] or where,
        "reason": os.strerror(int(number)) if number else "the file system failed",
    }
    return refused(_OBSTORE, said, where=where, doing=doing, uri=uri, name=name, **facts)


def explain_boto(error: Exception, where: str) -> XComError:
    """What a failure of boto3 to find credentials means."""
    if isinstance(error, XComError | ImportError):
        return explain(error, where, "use")
    name, text = type(error).__name__, " ".join(str(error).split())
    code = str((getattr(error, "response", None) or {}).get("Error", {}).get("Code") or "")
    # What could not be parsed is shown in full by boto3, and might be credentials.
    reason = code or (name if "Parser" in name else f"{name}: {text[:200]}")
    return refused(_BOTO, f"0 {code} {name} place: {text}", where=where, name=name, reason=reason, region="")


def _found(pattern: str, text: str) -> str:
    return found[1] if (found := re.search(pattern, text)) else ""
