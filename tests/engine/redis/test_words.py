"""What a server answers is quoted without what was sent to it: user and password, above all."""

from __future__ import annotations

import logging

import pytest
from redis.exceptions import ResponseError
from redis_servers import Valkey, store_on

from exclusive_xcom.redis.client import failure

SECRET = "correct-horse-battery"


def test_a_server_that_does_not_know_hello(caplog: pytest.LogCaptureFixture) -> None:
    """It answers with the whole command, password and all."""
    caplog.set_level(logging.DEBUG)
    with Valkey("--rename-command", "HELLO", "") as server, store_on(server.port, password=SECRET) as store:
        checks = list(store.probe())
    assert not all(check.ok for check in checks)
    assert "unknown command" in "".join(check.detail for check in checks)
    assert SECRET not in "".join(check.detail for check in checks) + caplog.text


@pytest.mark.parametrize(
    "said",
    [
        f"unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' '{SECRET}' ",
        f"unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `{SECRET}`, ",
        f"ERR unknown command HELLO 3 AUTH default {SECRET}",
        f"wrong number of arguments, with args beginning with: 'AUTH' '{SECRET}'",
        f"a proxy does not pass on AUTH {SECRET}",
    ],
)
def test_no_answer_shows_it(said: str) -> None:
    error = failure(ResponseError(said), "redis_default", SECRET)
    assert SECRET not in f"{error.what} {error.advice}"
