"""The graphs can be imported, as Airflow does it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3] / "dags"))  # as Airflow does
