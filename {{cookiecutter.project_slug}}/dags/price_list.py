"""Three lifetimes: what belongs into an XCom, into a Variable, and into external storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, get_current_context, task

from {{ cookiecutter.__package }} import settings

if TYPE_CHECKING:
    import pandas as pd


@dag(
    schedule="@daily",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["example", "lifetimes"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
)
def price_list():
    """
    # Where does data belong?

    Makes the day's price list of a shop (invented, `data/price_list.csv`) with value added tax, keeps it,
    and says what changed since the list before. Each piece of data lives where its lifetime says:

    | it lives | what | where |
    |---|---|---|
    | as long as the run | the gross prices, on their way to the next task | **XCom** |
    | until somebody changes it | the tax rate, for every run | **Variable** `price_list_vat_percent` |
    | longer than its run | the lists of all days | **External storage**, `output/price_list/<day>.csv` |

    An XCom belongs to one task of one run, and is gone with it. A Variable is small and set by people,
    without a deployment. What lies in external storage is read by other programs, and stays when a run is
    cleared.

    Two questions settle most cases. *Would another run, or another program, miss it?* Then it is not an
    XCom. *Does a person decide it?* Then it is a Variable.

    **Variables:** `price_list_vat_percent`, `data_folder`, `output_folder`.
    """

    @task
    def gross_prices():
        """The XCom: net prices plus tax. The tax rate is the Variable."""
        import pandas as pd

        vat = settings.PriceList.read().vat_percent
        prices = pd.read_csv(settings.data_file("price_list.csv"))
        prices["gross_eur"] = (prices["net_eur"] * (1 + vat / 100)).round(2)
        return prices

    @task
    def publish(prices: pd.DataFrame) -> str:
        """The external storage: one file a day. A second run of the same day replaces it as a whole."""
        day = get_current_context()["dag_run"].run_after.strftime("%Y-%m-%d")
        path = settings.output_file(f"{day}.csv")
        unfinished = path.with_suffix(".unfinished")
        prices.to_csv(unfinished, index=False)
        unfinished.replace(path)
        return str(path)

    @task(multiple_outputs=False)
    def changes(published: str) -> dict[str, Any]:
        """What differs from the latest list of an earlier day: gross prices before and now."""
        import pandas as pd

        today = Path(published)
        earlier = sorted(path for path in today.parent.glob("*.csv") if path.name < today.name)
        if not earlier:
            return {"since": None, "changed": {}}
        now = pd.read_csv(today, index_col="product")["gross_eur"]
        before = pd.read_csv(earlier[-1], index_col="product")["gross_eur"].to_dict()
        changed = {
            product: {"before": before.get(product), "now": price}
            for product, price in now.to_dict().items()
            if price != before.get(product)
        }
        return {"since": earlier[-1].stem, "changed": changed}

    changes(publish(gross_prices()))


price_list()
