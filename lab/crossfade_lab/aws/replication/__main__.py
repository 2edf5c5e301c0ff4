"""The worker's command: `python -m crossfade_lab.aws.replication [--release | --publish] <task directory>`."""

import argparse
from pathlib import Path

from crossfade_lab.aws.replication import slots, task


def main() -> None:
    """Run the task of a directory, release what it holds on the source, or make what a slot to come needs there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--release", action="store_true", help="drop the task's slot and publications, then end")
    parser.add_argument("--publish", action="store_true", help="publish the tables for a slot that is named, then end")
    arguments = parser.parse_args()
    if arguments.release:
        slots.release(arguments.directory)
    elif arguments.publish:
        task.publish_ahead(arguments.directory)
    else:
        task.run(arguments.directory)


main()
