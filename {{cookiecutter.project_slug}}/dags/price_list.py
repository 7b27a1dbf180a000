"""Three lifetimes: what belongs into an XCom, into a Variable, and into external storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath, dag, get_current_context, task

from {{ cookiecutter.__package }} import settings

if TYPE_CHECKING:
    import pandas as pd


def archive() -> ObjectStoragePath:
    """The folder of all lists: for a start, the output folder. For tasks only, since it reads Variables."""
    where = settings.PriceList.read()
    url = where.archive or settings.output_file("").as_uri()
    return ObjectStoragePath(url, conn_id=where.archive_connection or None)


def gross(path: ObjectStoragePath) -> dict[str, float]:
    """The gross prices of a list, by product."""
    import pandas as pd

    with path.open() as file:
        return pd.read_csv(file, index_col="product")["gross_eur"].to_dict()


@dag(
    schedule="@daily",
    start_date=datetime(2025, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["template-example", "lifetimes"],
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
    | longer than its run | the lists of all days | **External storage**, `price_list_archive` |

    An XCom belongs to one task of one run, and is gone with it. A Variable is small and set by people,
    without a deployment. What lies in external storage is read by other programs, and stays when a run is
    cleared.

    Two questions settle most cases. *Would another run, or another program, miss it?* Then it is not an
    XCom. *Does a person decide it?* Then it is a Variable.

    The archive is a folder of this machine, `output/price_list`. Where tasks run on more than one,
    `price_list_archive` has to name one that all of them reach, such as `s3://our-archive/prices`, and `price_list_archive_connection` an Airflow
    connection to it. The provider brings the way there:
    `make add PACKAGES="apache-airflow-providers-amazon[s3fs]>=9.15"`. What tasks hand to each other is an address with
    its connection, which means the same on every machine; a local path does not.

    **Variables:** `price_list_vat_percent`, `price_list_archive`, `price_list_archive_connection`,
    `data_folder`, `output_folder`.
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
    def publish(prices: pd.DataFrame) -> ObjectStoragePath:
        """The external storage: one file a day. A second run of the same day replaces it."""
        day = get_current_context()["dag_run"].run_after.strftime("%Y-%m-%d")
        path = archive() / f"{day}.csv"
        path.write_text(prices.to_csv(index=False))
        return path

    @task(multiple_outputs=False)
    def changes(published: ObjectStoragePath) -> dict[str, Any]:
        """What differs from the latest list of an earlier day: gross prices before and now."""
        if not published.exists():
            raise FileNotFoundError(f"{published} is on another machine: set price_list_archive.")
        earlier = sorted(path for path in published.parent.glob("*.csv") if path.name < published.name)
        if not earlier:
            return {"since": None, "changed": {}}
        now, before = gross(published), gross(earlier[-1])
        changed = {
            product: {"before": before.get(product), "now": price}
            for product, price in now.items()
            if price != before.get(product)
        }
        return {"since": earlier[-1].stem, "changed": changed}

    changes(publish(gross_prices()))


price_list()
