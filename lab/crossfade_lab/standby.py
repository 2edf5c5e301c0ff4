"""A physical replica of a server of the lab: readers are led to it, and it can be made to lag."""

from pathlib import Path

from crossfade_lab import processes
from crossfade_lab.postgres import PostgresServer, binaries


class Standby(PostgresServer):
    """
    A hot standby that streams from `primary`, which must run while this is created.

    :param directory: where everything of this server lives; created when missing
    """

    def __init__(self, directory: Path, primary: PostgresServer, *, detached: bool = False) -> None:
        super().__init__(directory, primary.major, detached=detached)
        self.primary = primary
        self.password = primary.password

    def hold_replay(self) -> None:
        """Receive, but replay nothing, until `let_replay`."""
        with self.connect() as conn:
            conn.execute("SELECT pg_wal_replay_pause()")

    def let_replay(self) -> None:
        """Catch up."""
        with self.connect() as conn:
            conn.execute("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a server of its own; returns when it takes writes."""
        with self.connect() as conn:
            conn.execute("SELECT pg_promote()")
            conn.execute("CHECKPOINT")

    def _create(self) -> None:
        processes.private_directory(self.directory)
        program = binaries(self.major) / "pg_basebackup"
        quick = ["--checkpoint=fast", "--no-sync"]
        place = [f"--pgdata={self.data}", "--write-recovery-conf", f"--dbname={self.primary.dsn()}"]
        processes.run([program, *quick, *place], cwd=self.directory)
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(f"\n# the standby's own\nunix_socket_directories = '{self.directory}'\n")
