"""Users and rights that projects and chapters have, on a server that enforces them."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
from redis_servers import Valkey, store_on
from walls import check_wall, theirs

from exclusive_xcom.errors import StoreDenied
from exclusive_xcom.testing.payloads import keep

ROOT = Path(__file__).parents[3]


def chapter(name: str) -> str:
    """Its text."""
    return (ROOT / f"engine/docs/{name}.md").read_text(encoding="utf-8")


def rights_of_a_user() -> str:
    """The chapter's line, for the prefix "xcom"."""
    (rights,) = re.findall(r"^    (~PREFIX/\* .+)$", chapter("redis"), re.MULTILINE)
    return str(rights).replace("PREFIX", "xcom")


def test_a_user_of_redis_with_the_rights_that_it_lists() -> None:
    with Valkey() as server:
        server.client().execute_command(*f"ACL SETUSER xcom on >secret {rights_of_a_user()}".split())
        with store_on(server.port, login="xcom", password="secret") as store:
            failed = [check for check in store.probe() if not check.ok]
            assert failed == []


def test_groups_of_workers_are_kept_apart_by_their_users() -> None:
    (keys,) = re.findall(r"^    (~PREFIX/{payroll.+)$", chapter("readers"), re.MULTILINE)
    commands = rights_of_a_user().removeprefix("~xcom/* ")
    with Valkey() as server:
        rule = f"ACL SETUSER payroll on >secret {keys.replace('PREFIX', 'xcom')} {commands}"
        server.client().execute_command(*rule.split())
        with store_on(server.port) as store:
            refs = theirs(store)
        with store_on(server.port, login="payroll", password="secret") as store:
            check_wall(store, *refs)


def test_the_users_of_a_project_are_enough_and_have_a_password_of_their_own(tmp_path: Path) -> None:
    (found,) = (ROOT / "{{cookiecutter.project_slug}}/config").glob("*redis-users.acl*")
    text = found.read_text(encoding="utf-8").replace("{{ cookiecutter.project_slug }}", "xcom")
    assert rights_of_a_user() in text
    users = tmp_path / "users.acl"
    users.write_text(text.replace("SHA256-OF-ITS-PASSWORD", hashlib.sha256(b"secret").hexdigest()))
    with Valkey("--aclfile", str(users)) as server:
        with store_on(server.port, login="xcom", password="secret") as store:
            assert [check for check in store.probe() if not check.ok] == []
        with store_on(server.port) as store, pytest.raises(StoreDenied):
            keep(store, [b"x"])
    users.write_text(text)
    server = Valkey("--aclfile", str(users))
    with pytest.raises(AssertionError, match=r"(aclfile|ACL)"), server:
        pass
    server.kill()
    shutil.rmtree(server.folder)
