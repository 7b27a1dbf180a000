"""The pipeline of data frames: the world's clocks and the sun."""

from __future__ import annotations

from pathlib import Path

from exclusive_xcom import Handle
from exclusive_xcom.testing.fixtures import Runner

DATA = Path(__file__).resolve().parents[1] / "data"


def test_countries_are_compared_with_the_sun(run: Runner) -> None:
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

    # The frame is handed over as a handle that loads columns.
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


def test_the_year_is_a_variable(run: Runner) -> None:
    changes = {}
    for year in (2015, 2024):  # Turkey stays on summer time since 2016
        countries = run("time_zones", time_zones_year=year).table("countries.csv")
        changes[year] = {row["country"]: row["changes"] for row in countries}["TR"]
    assert changes == {2015: "True", 2024: "False"}
