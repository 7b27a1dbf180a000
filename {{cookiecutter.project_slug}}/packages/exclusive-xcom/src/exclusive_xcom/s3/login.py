"""Which client reads and writes an object store, and with whose credentials.

An Airflow connection (type `aws`) may hold keys, a session token, role_arn, profile_name, region_name,
endpoint_url and verify, as the Amazon provider has them; the provider itself is not needed. Without
these AWS's own chain counts. Google Cloud and Azure use the credentials of their environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import StoreDenied, StoreMisconfigured, XComError
from .errors import explain_boto

# A request may take as long as a large body needs, but not its silences: obstore's own limit of 30 s
# for the whole would cut a large download short.
_TIMES = {"timeout": "1 day", "connect_timeout": "10 s", "read_timeout": "60 s"}


@dataclass
class Login:
    """How a location is entered, while its client is made.

    Attributes:
        url: of the location.
        conn_id: the Airflow connection; "" for none.
        source: where the credentials are from, for people.
        provide: gives credentials when they are needed, and new ones before they expire; None where
            obstore finds them itself.
        trouble: why `provide` failed the last time. obstore calls it from Rust and would bury it.
        verify: whether TLS certificates are checked, or the file of those to trust.
        config: endpoint and region, where they are known.
    """

    url: str
    conn_id: str = ""
    source: str = ""
    provide: Callable[[], dict[str, Any]] | None = None
    trouble: XComError | None = None
    verify: bool | str = True
    config: dict[str, Any] = field(default_factory=dict)

    def client_options(self) -> dict[str, Any]:
        """obstore's settings of the HTTP client. Raises `StoreMisconfigured`."""
        endpoint = self.config.get("aws_endpoint_url_s3") or os.environ.get("AWS_ENDPOINT_URL_S3")
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL") or ""
        found: dict[str, Any] = {**_TIMES, "allow_http": endpoint.startswith("http://")}
        if self.verify is False:
            found["allow_invalid_certificates"] = True
        elif bundle := self.verify if isinstance(self.verify, str) else os.environ.get("AWS_CA_BUNDLE"):
            try:
                found["root_certificate"] = Path(bundle).read_bytes()
            except OSError as error:
                raise StoreMisconfigured(
                    f"The file of trusted certificates {bundle} cannot be read ({error.strerror})",
                    "Correct `verify` in the Airflow connection, or AWS_CA_BUNDLE.",
                ) from None
        return found


def aws(login: Login) -> None:
    """Fill in a login to S3. Raises `StoreMisconfigured`.

    Plain keys are used as they are. Everything else (roles, profiles, SSO, web identity, the identity of
    a machine or container) is boto3's business, which takes half a second to import.
    """
    connection = _connection(login.conn_id) if login.conn_id else None
    extra: dict[str, Any] = connection.extra_dejson if connection else {}
    method = extra.get("assume_role_method", "assume_role")
    if method != "assume_role":
        raise StoreMisconfigured(
            f"Connection {login.conn_id!r} asks for {method}, which this backend does not do",
            "Leave keys and role out of it, and let AWS's own chain find the identity.",
        )
    login.verify = _verify(extra.get("verify", True))
    # Airflow's UI makes empty text of what is not given.
    endpoint = ((extra.get("service_config") or {}).get("s3") or {}).get("endpoint_url")
    endpoint = endpoint or extra.get("endpoint_url") or None
    key = (connection.login if connection else None) or extra.get("aws_access_key_id") or None
    secret = (connection.password if connection else None) or extra.get("aws_secret_access_key") or None
    token, region, role, profile = (
        extra.get(name) or None for name in ("aws_session_token", "region_name", "role_arn", "profile_name")
    )
    owner = f"connection {login.conn_id!r}" if connection else "AWS's own chain"
    in_environment = os.environ.get("AWS_ACCESS_KEY_ID") and os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key and not role:
        credential = _credential(key, secret or "", token, None)
        login.source, login.provide = f"keys of {owner}", lambda: credential
    elif in_environment and not (role or profile):
        login.source = "keys in the environment (AWS_ACCESS_KEY_ID)"  # obstore reads them itself
    else:
        try:
            import boto3

            session = boto3.Session(key, secret, token, region_name=region, profile_name=profile)
            region = session.region_name
            # A profile may name an endpoint, in more than one way.
            s3 = session.client("s3", region_name=region or "us-east-1", endpoint_url=endpoint)
            endpoint = s3.meta.endpoint_url
        except Exception as error:
            raise explain_boto(error, login.url) from None
        if role:
            login.source = f"role {role}, assumed by {owner}"
            login.provide = _explained(login, lambda: _assume(session, role, extra, login.verify))
        else:
            login.source = f"profile {profile} of {owner}" if profile else owner
            login.provide = _explained(login, lambda: _found(session, login.url))
    if endpoint:
        # The only key that an AWS_ENDPOINT_URL_S3 in the environment does not override.
        login.config["aws_endpoint_url_s3"] = endpoint
    if region:
        login.config["region"] = region


def _found(session: Any, url: str) -> dict[str, Any]:
    """What boto3's chain finds, renewed by boto3 itself."""
    credentials = session.get_credentials()
    if credentials is None:
        raise StoreDenied(
            f"No AWS credentials were found for {url}",
            "Name an Airflow connection with keys in AIRFLOW__XCOM__CONN_ID, or give the machine an identity "
            "that boto3 finds (environment, profile, role).",
        )
    frozen = credentials.get_frozen_credentials()
    # boto3 renews them ten minutes before they expire, so they hold good for nine.
    return _credential(
        frozen.access_key, frozen.secret_key, frozen.token, datetime.now(UTC) + timedelta(minutes=9)
    )


def _assume(session: Any, role: str, extra: dict[str, Any], verify: bool | str) -> dict[str, Any]:
    """The credentials of a role, for as long as AWS grants them (an hour, if nothing else is set)."""
    wanted = {"RoleArn": role, "RoleSessionName": "airflow-xcom", **(extra.get("assume_role_kwargs") or {})}
    if extra.get("external_id"):
        wanted["ExternalId"] = extra["external_id"]
    given = session.client("sts", verify=verify).assume_role(**wanted)["Credentials"]
    expires = given["Expiration"].astimezone(UTC)  # obstore takes no other kind of UTC
    return _credential(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], expires)


def _explained(login: Login, provide: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    def call() -> dict[str, Any]:
        try:
            found = provide()
        except Exception as error:
            login.trouble = error if isinstance(error, XComError) else explain_boto(error, login.url)
            raise login.trouble from None
        login.trouble = None
        return found

    return call


def _connection(conn_id: str) -> Any:
    from airflow.sdk import Connection

    try:
        return Connection.get(conn_id)
    except Exception as error:
        raise StoreMisconfigured(
            f"Airflow did not give the connection {conn_id!r} ({type(error).__name__})",
            f"Define it in the UI or as AIRFLOW_CONN_{conn_id.upper()}, or correct AIRFLOW__XCOM__CONN_ID.",
        ) from None


def _credential(key: str, secret: str, token: str | None, expires: datetime | None) -> dict[str, Any]:
    return {"access_key_id": key, "secret_access_key": secret, "token": token, "expires_at": expires}


def _verify(found: Any) -> bool | str:
    """The connection's `verify`: false, true, or a file. Airflow's UI makes text of all of them."""
    text = str(found).strip()
    return text.lower() != "false" if text.lower() in ("", "true", "false", "none") else text
