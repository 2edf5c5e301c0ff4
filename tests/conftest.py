"""How the tests are shared out among workers (`make test` runs several), and a home for Airflow."""

import atexit
import os
import shutil
import tempfile
from typing import Any

import pytest

E2E = "tests/e2e/"

#: Airflow reads its configuration when it is imported, and writes to its home: each process has one of its own.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="crossfade-airflow-")
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file to a worker at a time, since its fixtures start servers; the end-to-end tests share one Airflow."""
    from xdist.scheduler import LoadFileScheduling

    class LoadFilesAndE2e(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return E2E if nodeid.startswith(E2E) else str(super()._split_scope(nodeid))

    return LoadFilesAndE2e(config, log)
