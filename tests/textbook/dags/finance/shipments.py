import pandas as pd
from airflow.sdk import dag, task

from include.money import in_euros
from shared.clean import without_empty


@dag
def shipments():
    @task
    def load() -> pd.DataFrame:
        return without_empty(pd.DataFrame({"shop": ["a", "b", None], "cents": [100, 250, 3]}))

    @task
    def total(frame: pd.DataFrame, unit: str = "EUR") -> dict[str, float]:
        return {unit: in_euros(int(frame["cents"].sum()))}

    @task
    def show(total: float):
        print(total)

    show(total(load(), unit="EUR")["EUR"])


shipments()
