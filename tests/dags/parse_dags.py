"""Parse a DAG folder as Airflow's DAG processor does, and print what it found as JSON. Run in a process of its own."""

import json
import sys
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.plugins_manager import _get_plugins
from airflow.serialization.serialized_objects import DagSerialization

folder, plugins = Path(sys.argv[1]), Path(sys.argv[2])
_, plugin_errors = _get_plugins()
bag = BundleDagBag(folder, bundle_path=folder, bundle_name="tests")
found = {
    "import_errors": bag.import_errors,
    "plugin_errors": plugin_errors,
    "dags": {dag_id: DagSerialization.to_dict(dag)["dag"] for dag_id, dag in bag.dags.items()},
    "files": {dag_id: dag.relative_fileloc for dag_id, dag in bag.dags.items()},
    "plugin_modules": {
        name: module.__file__
        for name, module in list(sys.modules.items())
        if str(getattr(module, "__file__", "") or "").startswith(f"{plugins}/")
    },
}
Path(sys.argv[3]).write_text(json.dumps(found))
