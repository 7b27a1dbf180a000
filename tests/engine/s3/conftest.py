"""An S3 server that checks what its users may."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import s3_servers
from s3_identities import Identities


@pytest.fixture(scope="module")
def guarded() -> Iterator[str]:
    """A moto that can check signatures and rights, like AWS; its address."""
    os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "10000"
    try:
        with s3_servers.moto() as endpoint:
            yield endpoint
    finally:
        del os.environ["INITIAL_NO_AUTH_ACTION_COUNT"]


@pytest.fixture(scope="module")
def identities(guarded: str) -> Identities:
    """Who may do what on the guarded server."""
    return Identities(guarded)
