"""TestConnection: a real login from this machine to the endpoint's database, and its outcome."""

import threading
import time
from typing import Any

from moto.dms.models import FakeConnection

from crossfade_lab.aws.dms.endpoints import CannotConnect, Endpoint
from crossfade_lab.aws.dms.instances import ReplicationInstance

TESTING_SECONDS = 0.3


class Connection(FakeConnection):
    """The outcome of testing one endpoint from one replication instance."""

    def __init__(self, instance: ReplicationInstance, endpoint: Endpoint) -> None:
        super().__init__(
            replication_instance_arn=instance.arn,
            endpoint_arn=endpoint.endpoint_arn,
            replication_instance_identifier=instance.id,
            endpoint_identifier=endpoint.endpoint_identifier,
        )
        self._endpoint = endpoint
        self._outcome: tuple[str, str] = ("testing", "")

    @property
    def status(self) -> str:
        """testing, successful or failed."""
        return self._outcome[0]

    @status.setter
    def status(self, status: str) -> None:
        self._outcome = (status, "")

    def advance(self) -> None:
        """Nothing to do: the test's own thread brings the outcome."""

    def start(self) -> None:
        """Begin a test in a thread of its own."""
        self._outcome = ("testing", "")
        threading.Thread(target=self._test, name="test-connection", daemon=True).start()

    def _test(self) -> None:
        began = time.monotonic()
        try:
            with self._endpoint.login().connect() as connection:
                connection.execute("SELECT 1")
            outcome = ("successful", "")
        except CannotConnect as error:
            outcome = ("failed", str(error))
        time.sleep(max(0.0, TESTING_SECONDS - (time.monotonic() - began)))
        self._outcome = outcome

    def to_dict(self) -> dict[str, Any]:
        """The structure of the API."""
        status, message = self._outcome
        return {**super().to_dict(), "Status": status, "LastFailureMessage": message}
