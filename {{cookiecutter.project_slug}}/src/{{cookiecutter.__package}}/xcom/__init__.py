"""How tasks hand over real data: `lazy` for the producer, `Handle` for the consumer, and the backends.

The backend is chosen in config/airflow.env, not here: DAGs import the same names with every backend.
"""

from .handle import Handle, lazy

__all__ = ["Handle", "lazy"]
