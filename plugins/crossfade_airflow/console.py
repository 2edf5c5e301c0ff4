"""What Crossfade serves beside Airflow's own pages. Airflow protects none of it: every route here asks who is there."""

from __future__ import annotations

import logging

from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Request, Response, status

from crossfade.validation.report import is_saved
from crossfade_airflow.validation_reports import reports_directory

log = logging.getLogger(__name__)

#: A report shows what databases hold: nothing in it may run, load or be framed elsewhere, and no cache keeps it.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'; "
        "sandbox"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json"}

app = FastAPI(title="Crossfade", docs_url=None, redoc_url=None, openapi_url=None)


def may_read(plan: str, request: Request, user: GetUserDep) -> None:
    """Who may read the DAG ``<plan>.migrate`` may read what concerns the plan. Others get 401 or 403."""
    requires_access_dag("GET", param_dag_id=f"{plan}.migrate")(request, user)


@app.get("/validations/{plan}/{name}", dependencies=[Depends(may_read)])
def validation_report(plan: str, name: str) -> Response:
    """One report, as it was saved. Only names that saving gives reach the directory of reports."""
    if is_saved(plan, name):
        try:
            content = (reports_directory() / plan / name).read_bytes()
        except FileNotFoundError:
            log.info("there is no report %s of the plan %s", name, plan)
        else:
            return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=_HEADERS)
    raise HTTPException(status.HTTP_404_NOT_FOUND, "there is no such report")
