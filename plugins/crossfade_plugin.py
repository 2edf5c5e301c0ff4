"""What Airflow's plugin loader may load: the only file here that is not in .airflowignore."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from crossfade_airflow.validation_reports import URL_PREFIX, ValidationReportLink


async def console(*connection: Any) -> None:
    """The application `crossfade_airflow.console`, imported when it is asked first: tasks load plugins, too."""
    from crossfade_airflow.console import app

    await app(*connection)


class CrossfadePlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow is not type-checked
    """The link from a validation to its report, and what serves the report."""

    name = "crossfade"
    operator_extra_links = [ValidationReportLink()]  # noqa: RUF012 - Airflow reads a list
    fastapi_apps = [{"name": "crossfade", "app": console, "url_prefix": URL_PREFIX}]  # noqa: RUF012
