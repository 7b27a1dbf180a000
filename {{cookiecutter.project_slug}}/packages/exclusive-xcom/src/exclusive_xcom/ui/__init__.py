"""Pages in Airflow's own UI: what tasks have handed over. Nothing here is imported by a push or a pull."""
