"""How the tests are shared out among workers (`make test` runs several)."""

from typing import Any

import pytest

E2E = "tests/e2e/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file to a worker at a time, since its fixtures start servers; the end-to-end tests share one Airflow."""
    from xdist.scheduler import LoadFileScheduling

    class LoadFilesAndE2e(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return E2E if nodeid.startswith(E2E) else str(super()._split_scope(nodeid))

    return LoadFilesAndE2e(config, log)
