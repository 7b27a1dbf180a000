from datetime import datetime, timedelta

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, Label, TaskGroup, task_group


def _choose(**context):
    print(context["ds"])
    return context["ti"].xcom_pull(task_ids="say")


default_args = {
    "owner": "airflow",
    "depends_on_past": False,
    "email_on_failure": False,
    "retries": 0,
    "retry_delay": timedelta(minutes=5),
}

with DAG(
    "warehouse-daily",
    default_args=default_args,
    description="A classic DAG",
    schedule=timedelta(days=1),
    start_date=datetime(2021, 1, 1),
) as dag:
    start = EmptyOperator(task_id="start")
    say = BashOperator(task_id="say", bash_command="echo {{ ds }}")
    query = SQLExecuteQueryOperator(task_id="query", conn_id="project_sqlite", sql="SELECT 1")
    choose = PythonOperator(task_id="choose", python_callable=_choose, op_kwargs={"rows": query.output})

    with TaskGroup("checks") as checks:
        BashOperator(task_id="one", bash_command="true") >> EmptyOperator(task_id="two")

    @task_group(group_id="reports")
    def reports(rows: list[tuple[int]]):
        PythonOperator(task_id="report", python_callable=print, op_args=[rows])

    start >> Label("begin") >> [say, query]
    say >> choose >> checks >> reports(query.output)
