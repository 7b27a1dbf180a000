"""SQL: a query by SQLExecuteQueryOperator whose result is handed on as a data frame."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import dag, task

from {{ cookiecutter.__package }} import settings

if TYPE_CHECKING:
    import pandas as pd


def as_frame(cursor: Any):
    """What a query found, as a data frame. A `handler` of SQLExecuteQueryOperator."""
    import pandas as pd

    return pd.DataFrame.from_records(cursor.fetchall(), columns=[column[0] for column in cursor.description])


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["template-example", "sql"],
    default_args={"owner": "data-team", "retries": 1, "retry_delay": timedelta(seconds=10)},
    user_defined_macros={"settings": settings.Orders.read},
)
def orders():
    """
    # Which customers bring the revenue?

    Asks the database of a furniture shop (invented, `data/shop.db`) for the revenue of each customer, and
    finds those few who bring eighty percent of it. The result is `output/orders/revenue.csv` and
    `main_customers.csv`.

    **What is handed over:** the data frame that the operator's `handler` makes of the result. The query's
    parameters are templates: `settings()` reads the Variables when the task runs.

    **Connection:** `project_sqlite`, which `config/local.env` and `deployment.env` define. It leads to a file
    that the project brings along, so it is the same wherever the task runs. A file that one task writes and
    another asks would not be: two tasks may run on two machines.

    **Variables:** `orders_since`, `orders_include_open`, `output_folder`.
    """

    revenue = SQLExecuteQueryOperator(
        task_id="revenue",
        conn_id="project_sqlite",
        sql="""
            SELECT name, country, count(*) AS orders, sum(quantity * price_cents) / 100.0 AS revenue
            FROM orders JOIN customers USING (customer_id)
            WHERE day >= :since AND (status = 'paid' OR status = 'open' AND :include_open = 'True')
            GROUP BY customer_id
            ORDER BY revenue DESC, name
        """,
        parameters={% raw %}{"since": "{{ settings().since }}", "include_open": "{{ settings().include_open }}"}{% endraw %},
        handler=as_frame,
    )

    @task
    def main_customers(revenue: pd.DataFrame):
        """The customers who together bring eighty percent of the revenue, largest first."""
        share = revenue["revenue"] / revenue["revenue"].sum()
        before = share.cumsum() - share  # what larger customers bring
        return revenue.assign(percent=(100 * share).round(2))[before < 0.8]

    @task(multiple_outputs=False)
    def report(revenue: pd.DataFrame, main_customers: pd.DataFrame) -> dict[str, int | float]:
        """Write both tables, and say in short what is in them."""
        revenue.to_csv(settings.output_file("revenue.csv"), index=False)
        main_customers.to_csv(settings.output_file("main_customers.csv"), index=False)
        return {
            "customers": len(revenue),
            "main customers": len(main_customers),
            "revenue": round(float(revenue["revenue"].sum()), 2),
        }

    report(revenue.output, main_customers(revenue.output))


orders()
