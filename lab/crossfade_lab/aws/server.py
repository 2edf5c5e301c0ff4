"""`python -m crossfade_lab.aws.server --port N --directory D`: moto's server, with our DMS in the place of its own.

Ends on SIGTERM, together with every worker.
"""

import argparse
import json
import os
import signal
import threading
from pathlib import Path

import moto.dms
import moto.dms.models
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from crossfade_lab.aws.dms.faults import Faults
from crossfade_lab.aws.dms.models import LocalDms, dms_backends
from crossfade_lab.aws.dms.supervisor import Supervisor
from crossfade_lab.aws.dms.worker import WORKER_VARIABLE


class _QuietHandler(MotoRequestHandler):
    """Requests are not logged one by one: a demo makes thousands."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="for the directories of tasks")
    arguments = parser.parse_args()
    LocalDms.directory = arguments.directory.resolve()
    if command := os.environ.get(WORKER_VARIABLE):
        LocalDms.worker_command = tuple(json.loads(command))
    moto.dms.dms_backends = moto.dms.models.dms_backends = dms_backends  # type: ignore[assignment,attr-defined]
    application = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", arguments.port, application, threaded=True, request_handler=_QuietHandler)
    supervisor = Supervisor()
    supervisor.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    try:
        server.serve_forever()
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main()
