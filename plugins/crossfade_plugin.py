"""What Airflow's plugin loader may load: the only file here that is not in .airflowignore."""

from airflow.plugins_manager import AirflowPlugin


class CrossfadePlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow is not type-checked
    """Shows in Airflow's list of plugins that Crossfade is installed."""

    name = "crossfade"
