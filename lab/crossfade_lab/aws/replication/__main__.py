"""The worker's command: `python -m crossfade_lab.aws.replication [--release] <task directory>`."""

import argparse
from pathlib import Path

from crossfade_lab.aws.replication import slots, task


def main() -> None:
    """Run the task of a directory, or release what it holds on the source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--release", action="store_true", help="drop the task's slot and publications, then end")
    arguments = parser.parse_args()
    if arguments.release:
        slots.release(arguments.directory)
    else:
        task.run(arguments.directory)


main()
