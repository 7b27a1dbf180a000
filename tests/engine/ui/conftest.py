"""One site for all tests of the pages: its pipelines run once, its api-server is started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import site_server


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[site_server.Site]:
    """Airflow below a path, as behind a proxy, whose pipelines have run."""
    project = site_server.made(tmp_path_factory.mktemp("site"))
    with site_server.served(project, "/airflow") as made:
        yield made
