"""Every pipeline from end to end, on the files in data/, with a look at what it found."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from airflow.dag_processing.dagbag import DagBag
from PIL import Image

from {{ cookiecutter.__package }}.xcom import Handle

PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT / "data"


@dataclass(frozen=True)
class Run:
    """A finished run of a pipeline."""

    dag_id: str
    run_id: str
    output: Path

    def value(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        """What a task handed over, as its consumer gets it."""
        from airflow.models.xcom import XComModel
        from airflow.sdk.execution_time.xcom import XCom
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            row = session.scalars(
                select(XComModel).filter_by(
                    dag_id=self.dag_id, run_id=self.run_id, task_id=task_id, key=key, map_index=map_index
                )
            ).one()
            return XCom.deserialize_value(row)

    def table(self, name: str) -> list[dict[str, str]]:
        """A CSV file that the run wrote."""
        return rows(self.output / name)

    def text(self, name: str) -> str:
        """A text file that the run wrote."""
        return (self.output / name).read_text(encoding="utf-8")


Runner = Callable[..., Run]


@pytest.fixture(scope="module")
def bag() -> DagBag:
    """All pipelines."""
    return DagBag(PROJECT / "dags")


@pytest.fixture
def run(bag: DagBag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs a pipeline with the Variables given by name; results go to a folder of the test."""
    monkeypatch.setenv("AIRFLOW_CONN_PROJECT_SQLITE", f"sqlite://{tmp_path}/project.db")
    monkeypatch.setenv("AIRFLOW_VAR_OUTPUT_FOLDER", str(tmp_path / "output"))

    def pipeline(dag_id: str, day: date | None = None, **variables: object) -> Run:
        now = datetime.now(UTC)
        moment = datetime.combine(day or now, now.timetz())  # no two runs have the same
        with monkeypatch.context() as environment:
            for name, value in variables.items():
                environment.setenv(f"AIRFLOW_VAR_{name.upper()}", str(value))
            done = bag.dags[dag_id].test(run_after=moment, logical_date=moment)
        states = {f"{task.task_id}[{task.map_index}]": task.state for task in done.get_task_instances()}
        assert set(states.values()) == {"success"}, states
        return Run(dag_id, done.run_id, tmp_path / "output" / dag_id)

    return pipeline


@pytest.fixture
def set_in_airflow() -> Iterator[Callable[[str, str], None]]:
    """Sets a Variable in Airflow's database (`airflow variables set`) until the test is over."""
    from airflow.cli.cli_parser import get_parser

    def airflow(*words: str) -> None:
        arguments = get_parser().parse_args(["variables", *words])
        arguments.func(arguments)

    names = []

    def write(name: str, value: str) -> None:
        names.append(name)
        airflow("set", name, value)

    yield write
    for name in names:
        airflow("delete", name)


def rows(path: Path) -> list[dict[str, str]]:
    """A CSV file as dicts."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestTimeZones:
    """Data frames."""

    def test_countries_are_compared_with_the_sun(self, run: Runner) -> None:
        done = run("time_zones")
        countries = {row["country"]: row for row in done.table("countries.csv")}
        lines = [line for line in (DATA / "zone.tab").read_text().splitlines() if not line.startswith("#")]
        assert sum(int(row["zones"]) for row in countries.values()) == len(lines)
        # London's point lies 7' 30" west of the meridian: its clock is half a minute ahead of the sun.
        assert countries["GB"] == {
            "country": "GB",
            "name": "Britain (UK)",
            "zones": "1",
            "changes": "True",
            "minutes_ahead": "0.5",
        }
        assert countries["NA"]["name"] == "Namibia"
        # Tokyo, 139° 44' 41" east, has its sun 18 min 58.7 s before its clock.
        assert (countries["JP"]["changes"], countries["JP"]["minutes_ahead"]) == ("False", "-19.0")
        # China: +08:00 at 121° 28' east and +06:00 at 87° 35' east, -5.9 and 9.7 minutes.
        assert (countries["CN"]["zones"], countries["CN"]["minutes_ahead"]) == ("2", "1.9")

    def test_a_frame_is_handed_over_as_a_handle_that_loads_columns(self, run: Runner) -> None:
        done = run("time_zones")
        clocks = done.value("clocks")
        assert isinstance(clocks, Handle)
        frame = clocks.load(columns=["zone", "latitude", "longitude", "january", "july"])
        assert list(frame.columns) == ["zone", "latitude", "longitude", "january", "july"]
        sydney = frame.set_index("zone").loc["Australia/Sydney"]
        # 33° 52' south, 151° 13' east; summer time in January.
        assert sydney.to_dict() == {"latitude": -33.8667, "longitude": 151.2167, "january": 11, "july": 10}
        extremes = done.value("report")["furthest"]
        whole = clocks.load().set_index("zone")["minutes_ahead"]
        assert whole[extremes["ahead"]] == whole.max()
        assert whole[extremes["behind"]] == whole.min()

    def test_the_year_is_a_variable(self, run: Runner) -> None:
        changes = {}
        for year in (2015, 2024):  # Turkey stays on summer time since 2016
            done = run("time_zones", time_zones_year=year)
            changes[year] = {row["country"]: row["changes"] for row in done.table("countries.csv")}["TR"]
        assert changes == {2015: "True", 2024: "False"}


class TestWebLogs:
    """Large JSON logs."""

    @staticmethod
    def log() -> list[dict[str, Any]]:
        with gzip.open(DATA / "web_requests.jsonl.gz", "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    def test_sessions_and_errors_are_reported(self, run: Runner) -> None:
        done = run("web_logs")
        log = self.log()[:3000]
        records = done.value("parse")
        assert isinstance(records, Handle)
        assert records.load() == log
        report = json.loads(done.text("report.json"))

        # Sessions once more, the other way round: visitor by visitor.
        times = defaultdict(list)
        for record in log:
            times[record["visitor"]].append(datetime.fromisoformat(record["time"]))
        pauses = [later - earlier for visit in times.values() for earlier, later in pairwise(visit)]
        sessions = len(times) + sum(pause > timedelta(minutes=30) for pause in pauses)
        assert report["sessions"]["visitors"] == len(times)
        assert report["sessions"]["sessions"] == sessions
        assert report["sessions"]["requests per session"]["mean"] == round(3000 / sessions, 2)

        failed = [record for record in log if record["status"] in (500, 503)]
        assert report["errors"]["errors"] == len(failed)
        checkouts = [record for record in log if record["path"] == "/checkout"]
        share = sum(record["path"] == "/checkout" for record in failed) / len(checkouts)
        assert report["errors"]["percent"]["/checkout"] == round(100 * share, 2)
        # make_data.py broke the checkout between 14 and 15 o'clock.
        worst = sum(record["time"].startswith("2025-03-03T14") for record in failed)
        assert report["errors"]["worst hour"] == {"begins": "2025-03-03T14:00", "errors": worst}

    def test_more_records_than_the_file_has_are_the_next_day(self, run: Runner) -> None:
        records = run("web_logs", web_logs_records=4002).value("parse").load()
        log = self.log()
        assert records[:4000] == log
        assert [record["time"][:10] for record in records[4000:]] == ["2025-03-04", "2025-03-04"]
        assert [record["visitor"] for record in records[4000:]] == [log[0]["visitor"], log[1]["visitor"]]

    def test_the_pause_between_sessions_is_a_variable(self, run: Runner) -> None:
        found = run("web_logs", web_logs_session_minutes=1440).value("sessions")
        assert found["sessions"] == found["visitors"]


class TestPictures:
    """Images through dynamic task mapping."""

    def test_each_picture_becomes_a_thumbnail_and_all_a_sheet(self, run: Runner) -> None:
        done = run("pictures")
        names = sorted(path.name for path in (DATA / "pictures").glob("*.png"))
        assert len(names) == 8
        thumbnails = {}
        for index, name in enumerate(names):
            with Image.open(DATA / "pictures" / name) as picture:
                expected = picture.convert("RGB")
            expected.thumbnail((160, 160))
            thumbnails[name] = done.value("thumbnail", map_index=index)
            assert thumbnails[name].size == (160, 107)
            assert thumbnails[name].tobytes() == expected.tobytes()

        order = done.value("contact_sheet")["order"]
        assert sorted(order) == names
        means = [sum(thumbnails[name].convert("L").tobytes()) for name in order]
        assert means == sorted(means, reverse=True)
        with Image.open(done.output / "contact_sheet.png") as sheet:
            assert sheet.size == (4 * 160, 2 * (107 + 16))
            for place, name in enumerate(order):
                left, top = place % 4 * 160, place // 4 * 123
                found = sheet.crop((left, top, left + 160, top + 107))
                assert found.tobytes() == thumbnails[name].tobytes()

    def test_size_columns_and_format_are_variables(self, run: Runner) -> None:
        done = run("pictures", pictures_thumbnail_pixels=48, pictures_columns=3, pictures_format="webp")
        with Image.open(done.output / "contact_sheet.webp") as sheet:
            assert (sheet.format, sheet.size) == ("WEBP", (3 * 48, 3 * (32 + 16)))
            middles = [sheet.convert("L").getpixel((24 + 48 * (n % 3), 24 + 48 * (n // 3))) for n in range(9)]
        assert all(middle < 240 for middle in middles[:8])
        assert middles[8] > 250  # nothing there: white

    def test_a_new_picture_is_a_new_task(self, run: Runner, tmp_path: Path) -> None:
        (tmp_path / "input" / "pictures").mkdir(parents=True)
        Image.new("L", (30, 60), 200).save(tmp_path / "input" / "pictures" / "grey.png")
        done = run("pictures", data_folder=tmp_path / "input")
        assert done.value("contact_sheet")["order"] == ["grey.png"]
        assert done.value("measure", map_index=0) == {"width": 30, "height": 60, "brightness": 200.0}


class TestSensorArchive:
    """Heavy files."""

    def test_the_file_arrives_as_it_was(self, run: Runner) -> None:
        done = run("sensor_archive")
        content = (done.output / "readings.csv").read_bytes()
        assert content == (done.output / "export.csv").read_bytes()
        assert content.startswith(b"second,sensor,celsius\n0,S00,20.000\n1,S01,20.000\n")
        digest = hashlib.sha256(content).hexdigest()
        assert done.value("export", key="sha256") == digest
        assert done.value("archive") == {"bytes": 500 * 1024, "sha256": digest}
        assert done.value("preview") == ["second,sensor,celsius", "0,S00,20.000", "1,S01,20.000"]
        assert done.value("check_header") == ["second", "sensor", "celsius"]

    def test_what_is_handed_over_is_the_content_not_the_path(self, run: Runner) -> None:
        done = run("sensor_archive", sensor_archive_kibibytes=3)
        exported = done.value("export")
        assert isinstance(exported, Handle)
        written = done.output / "export.csv"
        content = written.read_bytes()
        written.unlink()  # the consumer is on another machine
        assert len(content) == 3 * 1024
        assert exported.path() != written
        assert exported.path().read_bytes() == content
        with exported.open() as file:
            assert file.read() == content


class TestOrders:
    """SQL."""

    @staticmethod
    def revenue(since: str, states: set[str]) -> dict[str, float]:
        """Revenue by customer's name, without a database."""
        names = {row["customer_id"]: row["name"] for row in rows(DATA / "customers.csv")}
        found: dict[str, int] = defaultdict(int)
        for row in rows(DATA / "orders.csv"):
            if row["day"] >= since and row["status"] in states:
                found[names[row["customer_id"]]] += int(row["quantity"]) * int(row["price_cents"])
        return {name: cents / 100 for name, cents in found.items()}

    def test_the_query_result_is_handed_over_as_a_frame(self, run: Runner, tmp_path: Path) -> None:
        done = run("orders")
        assert done.value("load") == {"customers": 40, "orders": 600}
        with sqlite3.connect(tmp_path / "project.db") as database:
            assert database.execute("SELECT count(*) FROM orders").fetchone() == (600,)
        frame = done.value("revenue")
        assert list(frame.columns) == ["name", "country", "orders", "revenue"]
        expected = self.revenue("2024-01-01", {"paid"})
        assert dict(zip(frame["name"], frame["revenue"], strict=True)) == expected
        assert frame["revenue"].is_monotonic_decreasing
        assert [row["name"] for row in done.table("revenue.csv")] == frame["name"].to_list()

    def test_main_customers_bring_eighty_percent_and_not_one_more_is_needed(self, run: Runner) -> None:
        done = run("orders")
        everything = sum(self.revenue("2024-01-01", {"paid"}).values())
        main = [float(row["revenue"]) for row in done.table("main_customers.csv")]
        assert sum(main[:-1]) < 0.8 * everything <= sum(main)
        assert done.value("report") == {
            "customers": len(done.table("revenue.csv")),
            "main customers": len(main),
            "revenue": round(everything, 2),
        }

    def test_parameters_are_variables_rendered_when_the_task_runs(self, run: Runner) -> None:
        done = run("orders", orders_since="2024-10-01", orders_include_open="true")
        frame = done.value("revenue")
        expected = self.revenue("2024-10-01", {"paid", "open"})
        assert dict(zip(frame["name"], frame["revenue"], strict=True)) == expected
        assert expected != self.revenue("2024-10-01", {"paid"})


class TestMeterReadings:
    """Manual push and pull with named keys, next to multiple outputs."""

    def test_good_and_faulty_readings_are_told_apart(self, run: Runner) -> None:
        done = run("meter_readings")
        accepted, rejected = done.value("check", key="accepted"), done.value("check", key="rejected")
        assert len(accepted) + len(rejected) == len(rows(DATA / "meter_readings.csv")) == 627
        assert accepted["kwh"].between(0, 100).all()
        assert not accepted.duplicated(["meter", "day"]).any()
        assert str(accepted["day"].dtype).startswith("datetime64")
        # The faults that make_data.py put in.
        faults = {"sent twice": 7, "missing": 12, "negative": 6, "above 100 kWh": 5}
        assert rejected["reason"].value_counts().to_dict() == faults
        assert done.value("check", key="readings") == 627
        assert done.value("check", key="faults") == faults
        assert done.value("check") == {"readings": 627, "faults": faults}

        written = done.table("rejected.csv")
        assert [(row["meter"], row["reason"]) for row in written] == list(
            zip(rejected["meter"], rejected["reason"], strict=True)
        )
        figures = json.loads(done.text("quality.json"))
        assert figures["kWh"] == round(sum(float(row["kwh"]) for row in done.table("accepted.csv")), 2)
        assert figures["percent good"] == round(100 * 597 / 627, 2)
        assert set(figures["meters with faults"]) == {row["meter"] for row in written}

    def test_the_limit_is_a_variable(self, run: Runner) -> None:
        done = run("meter_readings", meter_readings_most_kwh=12.5)
        assert done.value("check", key="accepted")["kwh"].max() <= 12.5
        assert "above 12.5 kWh" in done.value("check", key="faults")


class TestPriceList:
    """Three lifetimes."""

    MONDAY = date(2025, 3, 3)

    def test_prices_get_their_tax_and_are_kept(self, run: Runner) -> None:
        done = run("price_list", day=self.MONDAY)
        frame = done.value("gross_prices").set_index("product")
        assert frame.loc["lamp"].to_dict() == {"net_eur": 49.0, "gross_eur": 58.8}
        kept = pd.read_csv(done.output / "2025-03-03.csv", index_col="product")
        pd.testing.assert_frame_equal(kept, frame, check_index_type=False)
        assert [path.name for path in done.output.iterdir()] == ["2025-03-03.csv"]
        assert done.value("changes") == {"since": None, "changed": {}}

    def test_the_archive_outlives_the_run_and_the_variable_is_read_by_the_next(self, run: Runner) -> None:
        run("price_list", day=self.MONDAY)
        assert run("price_list", day=self.MONDAY + timedelta(days=1)).value("changes") == {
            "since": "2025-03-03",
            "changed": {},
        }
        done = run("price_list", day=self.MONDAY + timedelta(days=2), price_list_vat_percent=10)
        changes = done.value("changes")
        assert changes["since"] == "2025-03-04"
        assert changes["changed"]["lamp"] == {"before": 58.8, "now": 53.9}
        assert len(changes["changed"]) == 8
        assert len(list(done.output.iterdir())) == 3

    def test_a_variable_of_airflow_reaches_the_task_and_the_environment_wins(
        self, run: Runner, set_in_airflow: Callable[[str, str], None]
    ) -> None:
        set_in_airflow("price_list_vat_percent", "0")
        frame = run("price_list").value("gross_prices")
        assert frame["gross_eur"].equals(frame["net_eur"])
        frame = run("price_list", price_list_vat_percent=10).value("gross_prices")
        assert frame["gross_eur"][0] == 53.9
