"""Writes the settings of config/ as values of Airflow's Helm chart: `make helm-settings`."""

import json
from pathlib import Path

from dotenv import dotenv_values

FILES = ("config/airflow.env", "config/deployment.env")  # the later one wins
# The chart says these itself.
CHART = ("AIRFLOW_HOME", "AIRFLOW__CORE__EXECUTOR", "AIRFLOW__CORE__DAGS_FOLDER")
RESULT = Path("dist/helm-settings.yaml")


def settings() -> dict[str, str]:
    """The settings by name. Left out is what docker compose alone fills in: there, a secret is named by `${…}`."""
    found: dict[str, str] = {}
    for file in FILES:
        for name, value in dotenv_values(file, interpolate=False).items():
            if value and "${" not in value and name not in CHART:
                found[name] = value
    return found


def main() -> None:
    """Write them. A string in JSON is one in YAML, too."""
    lines = [f"  - {{name: {name}, value: {json.dumps(value)}}}\n" for name, value in settings().items()]
    RESULT.parent.mkdir(exist_ok=True)
    text = "# Made of config/ by `make helm-settings`: edit it there.\nenv:\n" + "".join(lines)
    RESULT.write_text(text, encoding="utf-8")
    print(f"{RESULT} has {len(lines)} settings.")


if __name__ == "__main__":
    main()
