"""Airflow reads its configuration on import: give it a home of its own before that."""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="crossfade-airflow-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
sys.path.append(str(Path(__file__).parents[3] / "dags"))  # as Airflow does
