"""Airflow on this machine, for development. The engine knows nothing of it, and a deployment does without."""
