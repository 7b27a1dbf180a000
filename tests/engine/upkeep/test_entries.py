"""What lies in Redis, as a collection sees it: a server and a cluster."""

from __future__ import annotations

import itertools
import json
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow_versions import ROWS_PER_TRY, asks_first
from redis_servers import Proxy, Valkey, cluster_of_two, keys_like, store_on
from upkeep_model import GRACE, ModelAirflow

from exclusive_xcom.address import NOBODY, Attempt
from exclusive_xcom.redis import RedisStore
from exclusive_xcom.redis.claims import as_owner
from exclusive_xcom.redis.keys import CHUNK, claim_key
from exclusive_xcom.reference import Expiry, Reference
from exclusive_xcom.testing.payloads import ADDRESS, attempt, keep, payload
from exclusive_xcom.upkeep import marker
from exclusive_xcom.upkeep.collect import Collection
from exclusive_xcom.upkeep.entries import Entries
from exclusive_xcom.upkeep.inventory import Kind, inventory_of
from exclusive_xcom.upkeep.judge import Why
from exclusive_xcom.upkeep.manifest import Manifest

DAY = 86400.0


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A server."""
    with Valkey() as server:
        yield server


@pytest.fixture(params=["server", "cluster"])
def store(request: pytest.FixtureRequest) -> Iterator[RedisStore]:
    """Each kind, with nothing in it."""
    if request.param == "server":
        server = request.getfixturevalue("server")
        with store_on(server.port) as store:
            yield store
        server.client().flushall()
    else:
        with cluster_of_two() as port, store_on(port, extra={"cluster": True}) as store:
            yield store


@pytest.fixture
def alone(server: Valkey) -> Iterator[RedisStore]:
    """A server, with nothing in it."""
    with store_on(server.port) as store:
        yield store
    server.client().flushall()


def names(found: Entries, after: str = "") -> list[str]:
    """What is listed."""
    return [item.name for item in found.items(after)]


def entries(store: RedisStore) -> Entries:
    """What lies there."""
    found = inventory_of(store)
    assert isinstance(found, Entries)
    return found


def begun(ago: float) -> Attempt:
    """A try whose task instance was made so many seconds ago."""
    number = int((time.time() - ago) * 1000) << 80 | 0x7 << 76 | 0b10 << 62 | uuid.uuid4().int >> 68
    return Attempt(1, str(uuid.UUID(int=number)))


def aged(store: RedisStore, ref: Reference, seconds: float) -> None:
    """Make a payload so much older: by what is left of its time."""
    head = (ref.uri or "").removeprefix("redis:")
    client = store.server.client
    for name in (head, *(f"{head}/{index}" for index in range(-(-ref.length // CHUNK)))):
        client.pexpire(name, client.pttl(name) - int(seconds * 1000))


def test_a_payload_is_listed_with_whose_it_is(store: RedisStore) -> None:
    found, writer = entries(store), attempt()
    expires = Expiry("a rule", datetime.now(UTC) + timedelta(days=30))
    refs = [
        keep(store, [b"value"], ADDRESS, writer),
        keep(store, [b"v" * CHUNK] * 3, replace(ADDRESS, dag_id="a {b}", map_index=7, key="x/y %41"), writer),
        keep(store, [], replace(ADDRESS, dag_id="a", run_id="b/c")),
    ]
    held = payload([b"value"])
    stored = store.put(ADDRESS, writer, held, expires)
    refs.append(stored.reference(ADDRESS, writer, held, expires=expires))
    store.commit(stored, refs[-1])
    aged(store, refs[-1], 20 * DAY)
    items = {f"redis:{item.name}": item for item in found.items() if item.kind is not Kind.CLAIM}
    assert set(items) == {ref.uri for ref in refs}
    now = found.now()
    for ref in refs:
        item = items[ref.uri or ""]
        assert (item.address, item.size) == (ref.address, ref.length)
        assert item.ti_id == ref.attempt.ti_id
        assert item.mark in (ref.uri or "") and item.ti_id in item.mark
        assert found.item(item.name) == replace(item, size=0, written=0.0)
        age = 20 * DAY if ref is refs[-1] else 0.0
        assert now - age - 600 < item.written <= now - age + 1
    for ref in refs:
        if ref.expires is None:
            aged(store, ref, 40 * DAY)
    assert all(now - item.written > 19 * DAY for item in found.items() if item.kind is Kind.PAYLOAD)


def test_who_can_not_tell_how_old_it_is_says_that_it_is_young(alone: RedisStore) -> None:
    found = entries(alone)
    ref = keep(alone, [b"value"])
    head = (ref.uri or "").removeprefix("redis:")
    alone.server.client.persist(head)
    (item,) = (item for item in found.items() if item.kind is Kind.PAYLOAD)
    assert found.now() - item.written < 600
    alone.server.client.set(head, b"no JSON", ex=600)
    (item,) = (item for item in found.items() if item.kind is Kind.PAYLOAD)
    assert found.now() - item.written < 600 and item.size == 0


@pytest.mark.parametrize("lost", ["request", "reply"])
def test_a_line_that_breaks_changes_nothing(server: Valkey, alone: RedisStore, lost: str) -> None:
    """At any of the requests that a listing and a deletion are made of."""
    refs = [keep(alone, [b"v" * CHUNK] * 2, replace(ADDRESS, map_index=index)) for index in range(3)]
    every, gone = names(entries(alone)), (refs[0].uri or "").removeprefix("redis:")
    with Proxy(server.port) as proxy, store_on(proxy.port) as store:
        found, broken = entries(store), 0
        for step in range(1, 30):
            first, hits = proxy.round_trips, list[int]()

            def breaks(number: int, at: int = first + step, hits: list[int] = hits) -> bool:
                if number == at:
                    hits.append(number)
                return number == at

            if lost == "request":
                proxy.break_before = breaks
            else:
                proxy.pass_reply = lambda number, breaks=breaks: not breaks(number)
            assert names(found) == every
            found.delete(gone)
            every = [name for name in every if name != gone]
            assert not any(key.startswith(gone) for key in keys_like(alone, "*"))
            broken += len(hits)
            if not hits:
                break
        assert broken >= 3


@asks_first
def test_a_claim_is_listed_and_goes_only_as_it_was_seen(store: RedisStore) -> None:
    found = entries(store)
    writer = begun(3 * DAY)
    as_owner(store.server, writer, [claim_key(ADDRESS)])
    name = f"{claim_key(ADDRESS)}#{writer.ti_id} 1"
    (item,) = found.items()
    assert item.name == name and item.kind is Kind.CLAIM and item.address == replace(ADDRESS, key="")
    assert abs(found.now() - item.written - 3 * DAY) < 600
    store.server.client.set(claim_key(ADDRESS), "another-try 2", ex=600)
    found.delete(name)
    assert names(found) == [f"{claim_key(ADDRESS)}#another-try 2"]
    (item,) = found.items()
    assert found.now() - item.written < 600, "its id does not tell its age"
    found.delete(item.name)
    found.delete(item.name)
    assert names(found) == []


def test_only_payloads_and_claims_are_listed(alone: RedisStore) -> None:
    found, client = entries(alone), alone.server.client
    assert found.read(marker.MARKER) is None
    found.write(marker.MARKER, "a text")
    assert found.read(marker.MARKER) == "a text"
    alone.put(ADDRESS, NOBODY, payload([b"staged"]))
    begin = claim_key(ADDRESS).removesuffix("/claim")
    for key in (
        "xcom/lock/{x}",
        f"{begin}/k/x",
        f"{begin}/k/claim",
        "xcom/{a/b}/claim",
        "xcom/{a/b/c/x}/claim",
    ):
        client.set(key, "x", ex=600)
    client.set(f"other/{begin.removeprefix('xcom/')}/claim", "x", ex=600)
    client.set(b"xcom/{\xff/b/c/1}/claim", "x", ex=600)
    client.set("xcom/{a/%61/c/1}/claim", "x", ex=600)
    assert names(found) == []


def test_two_projects_on_a_server_do_not_see_each_other(
    alone: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(alone, [b"value"])
    assert len(names(entries(alone))) >= 1
    for other in ("xco", "xcom/more", "xcom-two"):
        monkeypatch.setenv("AIRFLOW__XCOM__PREFIX", other)
        assert names(entries(alone)) == []
        entries(alone).write(marker.MARKER, other)
    monkeypatch.delenv("AIRFLOW__XCOM__PREFIX")
    assert entries(alone).read(marker.MARKER) is None


def test_it_goes_on_behind_any_name(store: RedisStore) -> None:
    found = entries(store)
    for dag_id in ("a", "a-b", "a.b", "ab", "B"):
        for map_index in range(3):
            keep(store, [b"value"], replace(ADDRESS, dag_id=dag_id, map_index=map_index))
    every = [name for name in names(found) if "#" not in name]
    assert len(every) == 15
    for number, name in enumerate(every, 1):
        assert [left for left in names(found, name) if "#" not in left] == every[number:]
    runs = [name.split("/")[1] for name in every]
    assert len(list(itertools.groupby(runs))) == 5, "a DAG's are together"


def test_all_of_a_payload_goes(store: RedisStore) -> None:
    found = entries(store)
    gone, stays = keep(store, [b"v" * CHUNK] * 3), keep(store, [b"v" * CHUNK] * 2)
    name = (gone.uri or "").removeprefix("redis:")
    found.delete(name)
    found.delete(name)
    left = [key for key in keys_like(store, "*") if not key.endswith("/claim")]
    head = (stays.uri or "").removeprefix("redis:")
    assert left == [head, f"{head}/0", f"{head}/1"]


def test_a_collection_takes_what_is_garbage_alone(store: RedisStore, tmp_path: Path) -> None:
    found, airflow = entries(store), ModelAirflow()
    marker.adopt(found, airflow)
    assert found.read(marker.MARKER) and marker.adopt(found, airflow)[1] is False
    writer = begun(2 * GRACE)
    kept, replaced, young = (keep(store, [b"value"], ADDRESS, writer) for _ in range(3))
    of_gone = keep(store, [b"value"], replace(ADDRESS, run_id="gone"), writer)
    for ref in (kept, replaced, of_gone):
        aged(store, ref, 2 * GRACE)
    airflow.runs[ADDRESS.dag_id, ADDRESS.run_id] = "success"
    airflow.rows[ADDRESS] = kept.row()
    collection = Collection(found, airflow, GRACE, most_gone=1.0)
    with Manifest(tmp_path / "list") as manifest:
        tally = collection.look(manifest)
        counts = {why: count.payloads for why, count in tally.by_reason.items()}
        assert counts.pop(Why.CLAIM, 0) == (not ROWS_PER_TRY), "the claim of a run that is there"
        assert counts == {Why.LIVE: 1, Why.REPLACED: 1, Why.YOUNG: 1, Why.RUN_GONE: 1 + (not ROWS_PER_TRY)}
        collection.delete(manifest)
    assert {f"redis:{name}" for name in names(found) if "#" not in name} == {kept.uri, young.uri}
    assert bytes(store.fetch(kept)) == b"value"


def test_a_collection_needs_no_more_rights_than_the_docs_say(server: Valkey, alone: RedisStore) -> None:
    docs = Path(__file__).parents[3] / "engine" / "docs" / "redis.md"
    (line,) = (line for line in docs.read_text().splitlines() if line.startswith("    ~PREFIX/*"))
    rights = line.strip().replace("PREFIX", os.environ.get("AIRFLOW__XCOM__PREFIX", "xcom")).split()
    ref = keep(alone, [b"value"])
    server.client().execute_command("ACL", "SETUSER", "narrow", "on", ">secret", *rights)
    try:
        with store_on(server.port, login="narrow", password="secret") as narrow:
            found = entries(narrow)
            marker.adopt(found, ModelAirflow())
            assert json.loads(found.read(marker.MARKER) or "")["id"]
            for name in names(found):
                found.delete(name)
            assert names(found) == [] and ref
    finally:
        server.client().execute_command("ACL", "DELUSER", "narrow")
