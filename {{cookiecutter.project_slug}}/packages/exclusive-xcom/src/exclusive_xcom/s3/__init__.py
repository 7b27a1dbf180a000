"""An object store as XCom backend, for Airflow: `exclusive_xcom.s3.S3XComBackend`."""

from __future__ import annotations

import functools
import importlib.util
from typing import ClassVar

from .. import forks
from ..backend import XComBackend
from .store import S3Store

forks.shared("obstore.store")


@functools.cache
def open_store() -> S3Store:
    """The store for objects below AIRFLOW__XCOM__URL. Raises `ImportError` without obstore."""
    if importlib.util.find_spec("obstore") is None:
        raise ModuleNotFoundError("No module named 'obstore'")
    return S3Store()


class S3XComBackend(XComBackend):
    """XComs in an object store. AIRFLOW__CORE__XCOM_BACKEND=exclusive_xcom.s3.S3XComBackend"""

    default_inline_limit: ClassVar[int] = 4096

    @classmethod
    def store(cls) -> S3Store:
        """The objects below AIRFLOW__XCOM__URL."""
        return open_store()
