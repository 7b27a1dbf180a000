"""Tells Airflow's lineage what a task pushed to an object store and pulled from it, for OpenLineage.

Costs next to nothing where no plugin reads it: then Airflow's collector is not even made.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable
from typing import Any

from . import airflow_compat, metrics
from . import attempt as attempts
from .reference import Reference

log = logging.getLogger(__name__)

_SCHEMES = ("s3:", "gs:", "az:", "file:")


class XComs:
    """What Airflow's collector is given as the place from where it is told: others give it a hook."""


def tell(direction: str, refs: Iterable[Reference]) -> None:
    """A task has pushed or pulled these payloads. Those in an object store become assets, by their URI. Never
    raises."""
    try:
        stored = [ref for ref in refs if ref.uri and ref.uri.startswith(_SCHEMES)]
        if not stored or not attempts.current().ti_id or (collector := _collector()) is None:
            return
        add = collector.add_output_asset if direction == "push" else collector.add_input_asset
        for ref in stored:
            add(context=XComs, uri=ref.uri, asset_extra=_extra(ref))
    except Exception as error:
        log.debug("Airflow's lineage was not told of an XCom: %s: %s", type(error).__name__, error)


@functools.cache
def _collector() -> Any:
    """Airflow's collector; None if nobody reads what it collects."""
    if not airflow_compat.lineage_is_read():
        return None
    from airflow.sdk.lineage import get_hook_lineage_collector

    return get_hook_lineage_collector()


def _extra(ref: Reference) -> dict[str, Any]:
    return metrics.place(ref.address) | {"kind": ref.kind, "bytes": ref.length}
