"""Data frames: the world's time zones, cleaned, joined and compared with the sun."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from airflow.sdk import dag, task
from exclusive_xcom import Handle, lazy

from {{ cookiecutter.__package }} import settings

if TYPE_CHECKING:
    import pandas as pd


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["template-example", "data frames"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def time_zones():
    """
    # How far do clocks run from the sun?

    Reads the table of time zones that the IANA time zone database keeps (public domain), cleans it, joins
    it with the names of the countries, and tells for each country how far its clocks run ahead of
    the sun. The result is `output/time_zones/countries.csv`.

    **What is handed over:** pandas data frames, as `return frame`. The largest, `clocks`, is returned as
    `lazy(frame)`: its two consumers get a handle and load only the columns that they need.

    **Variables:** `time_zones_year`, `data_folder`, `output_folder`.
    """

    @task
    def zones():
        """One row per country and zone, with the position of its main city in degrees."""
        import pandas as pd

        table = pd.read_csv(
            settings.data_file("zone.tab"),
            sep="\t",
            comment="#",
            names=["country", "position", "zone", "remark"],
            dtype=str,
            keep_default_na=False,  # NA is Namibia
        )
        # ISO 6709: +DDMM or +DDMMSS north, then +DDDMM or +DDDMMSS east.
        angles = table["position"].str.extract(r"^([+-])(\d\d)(\d\d)(\d\d)?([+-])(\d{3})(\d\d)(\d\d)?$")
        signs = angles[[0, 4]].eq("+") * 2 - 1
        parts = angles.drop(columns=[0, 4]).fillna("0").astype(float)
        table["latitude"] = (signs[0] * (parts[1] + parts[2] / 60 + parts[3] / 3600)).round(4)
        table["longitude"] = (signs[4] * (parts[5] + parts[6] / 60 + parts[7] / 3600)).round(4)
        return table.drop(columns="position")

    @task
    def countries():
        """Two-letter codes and English names."""
        import pandas as pd

        return pd.read_csv(
            settings.data_file("iso3166.tab"),
            sep="\t",
            comment="#",
            names=["country", "name"],
            dtype=str,
            keep_default_na=False,
        )

    @task
    def clocks(zones: pd.DataFrame):
        """What the clocks show in January and July, in hours from UTC, and how far that is from the sun."""
        year = settings.TimeZones.read().year
        for month, number in {"january": 1, "july": 7}.items():
            noon = datetime(year, number, 15, 12, tzinfo=UTC)
            there = [noon.replace(tzinfo=ZoneInfo(zone)) for zone in zones["zone"]]
            zones[month] = [(noon - earlier) / timedelta(hours=1) for earlier in there]
        zones["changes"] = zones["january"] != zones["july"]
        standard = zones[["january", "july"]].min(axis="columns")
        # The sun needs four minutes for a degree. Whole days do not count: the date line is nobody's clock.
        minutes = standard * 60 - zones["longitude"] * 4
        zones["minutes_ahead"] = ((minutes + 720) % 1440 - 720).round(1)
        return lazy(zones)

    @task
    def by_country(clocks: Handle, countries: pd.DataFrame):
        """One row per country."""
        frame = clocks.load(columns=["country", "zone", "changes", "minutes_ahead"])
        summary = frame.groupby("country", as_index=False).agg(
            zones=("zone", "count"), changes=("changes", "any"), minutes_ahead=("minutes_ahead", "mean")
        )
        summary["minutes_ahead"] = summary["minutes_ahead"].round(1)
        return countries.merge(summary, on="country", validate="one_to_one").sort_values(
            "minutes_ahead", ascending=False, ignore_index=True
        )

    @task(multiple_outputs=False)
    def extremes(clocks: Handle) -> dict[str, str]:
        """The zones whose clocks run furthest ahead of the sun and behind it."""
        ahead = clocks.load(columns=["zone", "minutes_ahead"]).set_index("zone")["minutes_ahead"]
        return {"ahead": str(ahead.idxmax()), "behind": str(ahead.idxmin())}

    @task(multiple_outputs=False)
    def report(by_country: pd.DataFrame, extremes: dict[str, str]) -> dict[str, object]:
        """Write the table, and say in short what is in it."""
        by_country.to_csv(settings.output_file("countries.csv"), index=False)
        return {
            "countries": len(by_country),
            "countries that change their clocks": int(by_country["changes"].sum()),
            "furthest": extremes,
        }

    shown = clocks(zones())
    report(by_country(shown, countries()), extremes(shown))


time_zones()
