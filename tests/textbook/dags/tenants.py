from datetime import datetime

from airflow.sdk import DAG, task


def create_dag(tenant, schedule, start):
    with DAG(f"tenant_{tenant}", schedule=schedule, start_date=start, default_args={"retries": 0}) as dag:

        @task
        def hello():
            print(f"Hello {tenant}")

        @task
        def numbers(count: int) -> list[int]:
            return list(range(count))

        @task
        def double(number: int, factor: int = 2):
            return number * factor

        @task
        def add(doubled: list[int]) -> int:
            return sum(doubled)

        hello() >> add(double.partial(factor=3).expand(number=numbers(3)))
    return dag


for tenant in ("north", "south"):
    globals()[f"tenant_{tenant}"] = create_dag(tenant, "@daily", datetime(2024, 1, 1))
