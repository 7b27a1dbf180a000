"""What a collection takes for garbage and what not, in a model of store and Airflow; what makes it stop."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from upkeep_model import GRACE, ModelAirflow, ModelStore, new_id, row_of, until

from exclusive_xcom.address import Address
from exclusive_xcom.console import Refused
from exclusive_xcom.reference import Encryption, Expiry
from exclusive_xcom.upkeep import marker
from exclusive_xcom.upkeep.airflow_rest import CannotAskAirflow
from exclusive_xcom.upkeep.collect import FEW, Collection, TooManyGone
from exclusive_xcom.upkeep.judge import Judge, Why
from exclusive_xcom.upkeep.manifest import TOLD, Manifest

AT = Address("orders", "run 1", "extract")
OLD, NOW = 0.0, 10 * GRACE
BEFORE = datetime.fromtimestamp(OLD + 1, UTC)


class World:
    """A store and an Airflow that belong together, with one run that has ended."""

    def __init__(self, folder: Path) -> None:
        self.store, self.airflow = ModelStore(), ModelAirflow()
        marker.adopt(self.store, self.airflow)
        self.airflow.runs["orders", "run 1"] = "success"
        self.file = folder / "garbage.jsonl"

    def old(self, address: Address = AT, ti_id: str = "", *, row: bool = False) -> str:
        """A payload from long ago; with its row, if it is to have one."""
        self.store.time = OLD
        ti_id = ti_id or new_id()
        name = self.store.put(address, ti_id)
        if row:
            self.airflow.rows[address] = row_of(address, ti_id, name)
        self.store.time = NOW
        return name

    def collection(self, **options: Any) -> Collection:
        """One of this store."""
        return Collection(self.store, self.airflow, GRACE, **options)

    def look(self, **options: Any) -> dict[str, int]:
        """What a look finds: how many payloads for each reason."""
        with Manifest(self.file) as manifest:
            tally = self.collection(**options).look(manifest)
        return {why: count.payloads for why, count in tally.by_reason.items()}

    def delete(self) -> dict[str, int]:
        """What is found when the list is dealt with."""
        with Manifest(self.file) as manifest:
            tally = self.collection().delete(manifest)
        return {why: count.payloads for why, count in tally.by_reason.items()}

    def why(self, name: str) -> Why:
        """What is so about one payload."""
        item = replace(self.store.item(name), written=self.store.objects[name])
        return Judge(self.airflow, NOW - GRACE, NOW).why(item)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """See `World`."""
    return World(tmp_path)


class TestWhy:
    """What is so about a payload."""

    def test_a_row_refers_to_it(self, world: World) -> None:
        assert world.why(world.old(row=True)) is Why.LIVE

    def test_a_row_refers_to_it_from_before_the_store_moved(self, world: World) -> None:
        name = world.old(ti_id="t")
        world.airflow.rows[AT] = row_of(AT, "t", name, "s3://former/place")
        assert world.why(name) is Why.LIVE

    @pytest.mark.parametrize("form", ["of an older release", "in a list"])
    def test_a_row_refers_to_it_in_a_form_that_is_not_known(self, world: World, form: str) -> None:
        name = world.old(row=True)
        row = world.airflow.rows[AT]
        world.airflow.rows[AT] = [[{"x": row}]] if "list" in form else {"$xcom": "1", "where": row["uri"]}
        assert world.why(name) is Why.LIVE

    @pytest.mark.parametrize("encryption", [None, Encryption(7, "QUFB", "QUFB")], ids=["plain", "no key"])
    @pytest.mark.parametrize(
        ("expires", "state", "why"),
        [
            (until(NOW), "success", Why.OVER),
            (until(NOW), "failed", Why.OVER),
            (until(NOW), "running", Why.UNFINISHED),
            (until(NOW + 1), "success", Why.LIVE),
            (until(run=True), "success", Why.OVER),
            (until(run=True), "failed", Why.LIVE),
            (until(run=True), "running", Why.UNFINISHED),
            (until(NOW, run=True), "failed", Why.OVER),
            (until(NOW + 1, run=True), "success", Why.OVER),
        ],
    )
    def test_its_row_says_how_long_it_is_kept(
        self, world: World, expires: Expiry, state: str, why: Why, encryption: Encryption | None
    ) -> None:
        name = world.old(ti_id="t")
        world.airflow.rows[AT] = row_of(AT, "t", name, expires=expires, encryption=encryption)
        world.airflow.runs["orders", "run 1"] = state
        assert world.why(name) is why
        young = world.store.put(AT, "t")
        world.airflow.rows[AT] = row_of(AT, "t", young, expires=until(OLD, run=True))
        assert world.why(young) is Why.YOUNG

    def test_a_row_that_is_not_understood_ends_nothing(self, world: World) -> None:
        name = world.old(ti_id="t")
        row = row_of(AT, "t", name, expires=until(OLD))
        for changed in ({"must": ["x"]}, {"$xcom": "9"}, {"expires": {"rule": "x", "at": "soon"}}):
            world.airflow.rows[AT] = {**row, **changed}
            assert world.why(name) is Why.LIVE

    def test_another_try_or_push_has_the_row(self, world: World) -> None:
        lost = world.old()
        kept = world.old(row=True)
        assert (world.why(lost), world.why(kept)) == (Why.REPLACED, Why.LIVE)

    def test_a_plain_value_has_the_row(self, world: World) -> None:
        name = world.old()
        world.airflow.rows[AT] = None
        assert world.why(name) is Why.REPLACED

    def test_its_xcom_or_its_run_is_gone(self, world: World) -> None:
        name = world.old()
        assert world.why(name) is Why.ROW_GONE
        world.airflow.delete_run(("orders", "run 1"))
        assert world.why(name) is Why.RUN_GONE

    @pytest.mark.parametrize("state", ["running", "queued", "None", "a state to come"])
    def test_its_run_has_not_ended(self, world: World, state: str) -> None:
        name = world.old()
        world.airflow.runs["orders", "run 1"] = state
        assert world.why(name) is Why.UNFINISHED

    def test_it_is_younger_than_the_grace(self, world: World) -> None:
        world.store.time = NOW - GRACE + 1
        assert world.why(world.store.put(AT, "t")) is Why.YOUNG
        assert not world.airflow.asked

    @pytest.mark.parametrize("name", ["report.csv", "a/b/c", "x/orders/run/t/-1/k/no-task-0123456789abcdef"])
    def test_it_is_not_ours(self, world: World, name: str) -> None:
        world.store.objects[name] = OLD
        assert world.why(name) is Why.UNKNOWN

    @pytest.mark.parametrize(
        "odd", [replace(AT, run_id="a/b"), replace(AT, task_id=".."), replace(AT, key="./x")]
    )
    def test_there_is_no_question_for_it(self, world: World, odd: Address) -> None:
        assert world.why(world.old(odd)) is Why.UNKNOWN
        assert not world.airflow.asked

    def test_the_time_of_another_payload_does_not_count(self, world: World) -> None:
        """A row may hold the payload's name in another place than its own reference."""
        name = world.old(ti_id="t")
        other = row_of(AT, "t", world.old(ti_id="t"), expires=Expiry("a rule", BEFORE))
        world.airflow.rows[AT] = other | {"preview": name}
        assert world.why(name) is Why.LIVE

    @pytest.mark.parametrize("broken", [{"expires": {"at": "soon"}}, {"$xcom": "4"}])
    def test_a_time_that_cannot_be_read_is_none(self, world: World, broken: dict[str, Any]) -> None:
        name = world.old(ti_id="t")
        row = row_of(AT, "t", name, expires=Expiry("a rule", BEFORE))
        world.airflow.rows[AT] = row | broken
        assert world.why(name) is Why.LIVE

    def test_rows_of_other_tries_are_not_seen_where_each_has_its_own(self, world: World) -> None:
        world.airflow.rows_per_try = True
        first, again = world.old(ti_id="one"), world.old(ti_id="two")
        assert world.why(first) is Why.UNPROVED
        world.old(ti_id="two", row=True)
        assert world.why(first) is Why.UNPROVED
        assert world.why(again) is Why.REPLACED, "the same task instance has another value now"
        world.airflow.delete_run(("orders", "run 1"))
        assert world.why(first) is Why.RUN_GONE


class TestCollection:
    """Two looks, and what is deleted."""

    def test_only_what_was_garbage_twice_goes(self, world: World) -> None:
        kept, lost, saved = world.old(row=True), world.old(), world.old(replace(AT, key="k"), "t")
        assert world.look() == {Why.LIVE: 1, Why.REPLACED: 1, Why.ROW_GONE: 1}
        assert set(world.store.objects) == {kept, lost, saved}, "a look deletes nothing"
        world.airflow.rows[replace(AT, key="k")] = row_of(AT, "t", saved)
        late = world.old()
        assert world.delete() == {Why.REPLACED: 1, Why.LIVE: 1}
        assert set(world.store.objects) == {kept, saved, late}

    def test_what_is_over_goes(self, world: World) -> None:
        name = world.old(ti_id="t")
        world.airflow.rows[AT] = row_of(AT, "t", name, expires=until(NOW + 1))
        assert world.look() == {Why.LIVE: 1}
        world.store.time = NOW + 1
        assert world.look() == {Why.OVER: 1}
        assert world.delete() == {Why.OVER: 1} and not world.store.objects

    def test_what_was_over_and_is_kept_by_now_stays(self, world: World) -> None:
        name = world.old(ti_id="t")
        world.airflow.rows[AT] = row_of(AT, "t", name, expires=until(run=True))
        assert world.look() == {Why.OVER: 1}
        world.airflow.runs["orders", "run 1"] = "running"
        assert world.delete() == {Why.UNFINISHED: 1} and name in world.store.objects

    def test_a_run_and_an_xcom_are_asked_for_once(self, world: World) -> None:
        for _ in range(50):
            world.old()
        world.look()
        assert world.airflow.asked == [("orders", "run 1"), AT]

    def test_a_list_serves_once(self, world: World) -> None:
        world.old()
        world.look()
        world.delete()
        with pytest.raises(Refused, match="Nothing is left to delete in"):
            world.delete()
        assert world.look() == {}

    def test_an_answer_that_is_not_clear_ends_it(self, world: World) -> None:
        name = world.old()
        world.look()
        world.airflow.deaf = True
        with pytest.raises(CannotAskAirflow):
            world.delete()
        with pytest.raises(CannotAskAirflow):
            world.look()
        world.airflow.deaf = False
        with pytest.raises(Refused, match="is not complete"):
            world.delete()
        assert name in world.store.objects

    @pytest.mark.parametrize("variable", [None, "6f0c7a52-6c3e-4b0e-9d4e-6c4e2e1b7a11"])
    def test_the_wrong_airflow_ends_it(self, world: World, variable: str | None) -> None:
        world.old()
        world.look()
        world.airflow.variable = variable
        for act in (world.look, world.delete):
            with pytest.raises(marker.WrongStore, match="they do not belong together"):
                act()
        assert not world.store.deleted

    def test_a_store_that_nobody_named_ends_it(self, world: World) -> None:
        world.store.notes.clear()
        with pytest.raises(marker.WrongStore, match="say so once by `xcom adopt`"):
            world.look()
        assert not world.store.notes, "it is not made by looking"

    def test_a_list_of_another_store_is_not_used(self, world: World, tmp_path: Path) -> None:
        world.old()
        world.look()
        other = World(tmp_path)
        other.file = world.file
        with pytest.raises(marker.WrongStore, match="Look anew"):
            other.delete()

    @pytest.mark.parametrize("at", ["look", "delete"])
    def test_another_airflow_in_the_middle_ends_it(
        self, world: World, monkeypatch: pytest.MonkeyPatch, at: str
    ) -> None:
        """An address leads to a new one from a moment on: its 404 are worth nothing."""
        monkeypatch.setattr("exclusive_xcom.upkeep.collect.EVERY", 2)
        for number in range(FEW // 2):
            world.old(replace(AT, run_id=f"run {number}"), row=True)
            world.airflow.runs["orders", f"run {number}"] = "success"
        if at == "delete":
            for run in list(world.airflow.runs)[5:]:
                world.airflow.delete_run(run)
            world.look()
        state = world.airflow.run_state

        def switched(dag_id: str, run_id: str) -> str | None:
            if run_id >= "run 5":
                world.airflow.variable = None
            return state(dag_id, run_id) if world.airflow.variable else None

        world.airflow.run_state = switched  # type: ignore[method-assign]
        with pytest.raises(marker.WrongStore):
            getattr(world, at)()
        assert len(world.store.deleted) <= 2
        with Manifest(world.file) as manifest:
            assert manifest.ended == (at == "delete")
        assert at == "delete" or "run 5" not in world.file.read_text()

    @pytest.mark.parametrize("head", [{"grace": 1.0}, {"cut": NOW}, {"cut": 1e12}, {"store": "s3://b/other"}])
    def test_a_list_that_was_changed_is_not_used(self, world: World, head: dict[str, Any]) -> None:
        world.old(row=False)
        world.look()
        first, *lines = world.file.read_text().splitlines()
        world.file.write_text("\n".join([json.dumps(json.loads(first) | head), *lines, ""]))
        with pytest.raises(marker.WrongStore, match="Look anew"):
            world.delete()
        assert not world.store.deleted

    def test_unusually_many_runs_are_gone(self, world: World) -> None:
        for number in range(FEW):
            world.old(replace(AT, run_id=f"gone {number}"))
        with pytest.raises(TooManyGone, match=r"Of 20 runs .* does not know 20\. .*--most-gone 100"):
            world.look()
        with Manifest(world.file) as manifest:
            assert not manifest.ended
        assert world.look(most_gone=1.0) == {Why.RUN_GONE: FEW}

    def test_it_goes_on_where_it_was_interrupted(self, world: World) -> None:
        for number in range(FEW // 2):
            world.old(replace(AT, run_id=f"gone {number:02}"))
        whole = set(world.store.objects)
        state, asked = world.airflow.run_state, []

        def interrupted(dag_id: str, run_id: str) -> str | None:
            asked.append(run_id)
            if len(asked) == 5:
                raise KeyboardInterrupt
            return state(dag_id, run_id)

        world.airflow.run_state = interrupted  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            world.look()
        assert world.look() == {Why.RUN_GONE: FEW // 2}
        assert len(asked) == FEW // 2 + 1, "nothing is asked twice but what had no answer"
        asked.clear()
        with pytest.raises(KeyboardInterrupt):
            world.delete()
        assert len(world.store.deleted) == 4
        assert world.delete() == {Why.RUN_GONE: FEW // 2}
        assert len(world.store.deleted) == FEW // 2 and set(world.store.deleted) == whole

    def test_it_is_told_now_and_then(self, world: World) -> None:
        for number in range(TOLD + 1):
            world.old(replace(AT, map_index=number), row=True)
        told: list[int] = []
        world.look(tell=lambda tally: told.append(tally.by_reason[Why.LIVE].payloads))
        assert told == [TOLD]


class TestManifest:
    """The list's file."""

    def test_one_collection_at_a_time_has_it(self, tmp_path: Path) -> None:
        with Manifest(tmp_path / "list"), pytest.raises(Refused, match="Another collection is at work"):
            Manifest(tmp_path / "list")

    @pytest.mark.parametrize("text", ["notes of mine", "notes\n", "[]\n", "{}\n", '{"form": 2}\n', "\xff\n"])
    def test_another_file_stays_as_it_is(self, tmp_path: Path, text: str) -> None:
        file = tmp_path / "list"
        file.write_text(text)
        with pytest.raises(Refused, match="is not a list that `xcom gc` wrote"):
            Manifest(file)
        assert file.read_text() == text

    @pytest.mark.parametrize(
        "line",
        [
            '{"name": 5, "bytes": 1, "written": 1, "why": ""}',
            '{"name": "a", "bytes": 1, "written": NaN, "why": ""}',
            '{"name": "a", "bytes": "1", "written": 1, "why": ""}',
            '{"place": -1, "done": {"by_reason": {}, "runs": 0, "gone": 0}}',
            '{"place": 10000, "done": {"by_reason": {}, "runs": 0, "gone": 0}}',
            "[" * 200_000,
            "5",
        ],
        ids=lambda line: line[:50],
    )
    def test_a_line_that_nobody_wrote_is_told(self, world: World, line: str) -> None:
        world.look()
        world.file.write_text(f"{world.file.read_text()}{line}\n")
        with pytest.raises(Refused, match="is not a list that `xcom gc` wrote"):
            Manifest(world.file)

    @pytest.mark.parametrize("before", [None, 0o644])
    def test_it_is_for_its_owner_alone(self, world: World, before: int | None) -> None:
        if before:
            world.file.touch()
            world.file.chmod(before)
        world.look()
        assert world.file.stat().st_mode & 0o777 == 0o600

    @pytest.mark.parametrize("cut", [1, 30, 200])
    def test_what_was_cut_off_does_not_count(self, world: World, cut: int) -> None:
        for number in range(5):
            world.old(replace(AT, map_index=number))
        world.look()
        raw = world.file.read_bytes()
        world.file.write_bytes(raw[:-cut])
        with Manifest(world.file) as manifest:
            assert not manifest.ended
        assert world.look() == {Why.ROW_GONE: 5}
        world.delete()
        assert not world.store.objects


class TestAdopt:
    """Who says that store and Airflow belong together."""

    def test_it_is_said_once(self) -> None:
        store, airflow = ModelStore(), ModelAirflow()
        found, new = marker.adopt(store, airflow)
        assert new and airflow.variable == found == marker.check(store, airflow)
        assert marker.adopt(store, airflow) == (found, False)

    def test_what_was_interrupted_is_finished(self) -> None:
        store, airflow = ModelStore(), ModelAirflow()
        airflow.set_store_id("6f0c7a52-6c3e-4b0e-9d4e-6c4e2e1b7a11")
        assert marker.adopt(store, airflow) == ("6f0c7a52-6c3e-4b0e-9d4e-6c4e2e1b7a11", True)

    @pytest.mark.parametrize("text", ["mine", "", "6F0C7A52-6C3E-4B0E-9D4E-6C4E2E1B7A11"])
    def test_a_variable_that_a_person_changed_is_told_and_no_marker_made(self, text: str) -> None:
        store, airflow = ModelStore(), ModelAirflow(variable=text)
        with pytest.raises(marker.WrongStore, match="Somebody changed it"):
            marker.adopt(store, airflow)
        assert not store.notes

    def test_what_somebody_wrote_into_the_variable_is_not_shown(self) -> None:
        store, airflow = ModelStore(), ModelAirflow()
        marker.adopt(store, airflow)
        airflow.variable = "s3cr3t" * 1000
        with pytest.raises(marker.WrongStore) as caught:
            marker.check(store, airflow)
        assert "s3cr3t" not in str(caught.value)

    def test_a_store_of_another_airflow_is_not_taken(self) -> None:
        store, airflow = ModelStore(), ModelAirflow()
        found, _ = marker.adopt(store, airflow)
        with pytest.raises(marker.WrongStore, match=f"give its Variable .* the value {found}"):
            marker.adopt(store, ModelAirflow())

    @pytest.mark.parametrize("text", ["", "{}", "[]", '{"id": 3}', '{"id": "mine"}', "null"])
    def test_a_damaged_marker_is_told(self, text: str) -> None:
        store = ModelStore(notes={marker.MARKER: text})
        with pytest.raises(marker.WrongStore, match="is not what `xcom adopt` wrote"):
            marker.check(store, ModelAirflow())
