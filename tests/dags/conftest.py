"""DAG folders are parsed in a process with an AIRFLOW_HOME of its own: nothing of the user's Airflow leaks in."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PLANS = REPOSITORY / "include" / "migrations"


@dataclass(frozen=True)
class Parsed:
    """What Airflow made of a DAG folder."""

    import_errors: dict[str, str]
    plugin_errors: dict[str, str]
    dags: dict[str, dict[str, Any]]
    files: dict[str, str]
    plugin_modules: dict[str, str]

    def tasks(self, dag: str) -> dict[str, dict[str, Any]]:
        """The tasks of a DAG as the scheduler reads them, with what a mapped one was given."""
        found = {}
        for entry in self.dags[dag]["tasks"]:
            task = entry["__var"]
            found[task["task_id"]] = {**task.get("partial_kwargs", {}), **task}
        return found


Parse = Callable[[Path, Path], Parsed]


@pytest.fixture(scope="session")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Parse:
    def parse(dags: Path, plans: Path) -> Parsed:
        home = tmp_path_factory.mktemp("airflow")
        plugins = REPOSITORY / "plugins"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("parse_dags.py"), dags, plugins, home / "found.json"],
            env={
                **kept,
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
                "CROSSFADE_PLANS": str(plans),
                "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "include"), os.environ.get("PYTHONPATH", "")]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return Parsed(**json.loads((home / "found.json").read_text()))

    return parse


@pytest.fixture(scope="session")
def repository(parse: Parse) -> Parsed:
    """The repository's own DAG folder."""
    return parse(REPOSITORY / "dags", PLANS)
