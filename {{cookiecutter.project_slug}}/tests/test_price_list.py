"""The pipeline of three lifetimes: a Variable sets the tax, and the archive outlives the run."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from airflow.sdk import ObjectStoragePath
from exclusive_xcom.testing.fixtures import Runner


def test_prices_get_their_tax_and_the_archive_outlives_the_run(run: Runner) -> None:
    done = run("price_list", day=date(2025, 3, 3))
    frame = done.value("gross_prices").set_index("product")
    assert frame.loc["lamp"].to_dict() == {"net_eur": 49.0, "gross_eur": 58.8}
    kept = pd.read_csv(done.output / "2025-03-03.csv", index_col="product")
    pd.testing.assert_frame_equal(kept, frame, check_index_type=False)
    assert [path.name for path in done.output.iterdir()] == ["2025-03-03.csv"]
    assert done.value("changes") == {"since": None, "changed": {}}

    done = run("price_list", day=date(2025, 3, 4), price_list_vat_percent=10)
    changes = done.value("changes")
    assert changes["since"] == "2025-03-03"
    assert changes["changed"]["lamp"] == {"before": 58.8, "now": 53.9}
    assert len(changes["changed"]) == 8
    assert len(list(done.output.iterdir())) == 2


def test_the_archive_is_where_the_variable_says(run: Runner, tmp_path: Path) -> None:
    done = run("price_list", day=date(2025, 3, 3), price_list_archive=tmp_path.as_uri())
    assert str(done.value("publish")) == f"{tmp_path.as_uri()}/2025-03-03.csv"
    assert (tmp_path / "2025-03-03.csv").read_text(encoding="utf-8").startswith("product,net_eur,gross_eur\n")


def test_a_list_that_another_machine_has_is_told_by_who_cannot_find_it(run: Runner, tmp_path: Path) -> None:
    elsewhere = ObjectStoragePath((tmp_path / "2025-03-03.csv").as_uri())
    with pytest.raises(FileNotFoundError, match="on another machine: set price_list_archive"):
        run.function("price_list", "changes")(elsewhere)
