"""What the demo asks the local DMS while a migration runs: how many rows its load has brought so far."""

import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError


def loading(dms: Any) -> tuple[float, int]:
    """The moment (epoch seconds) and the rows loaded so far by all tasks; zero while AWS knows of none.

    :param dms: a boto3 client of DMS
    """
    now = time.time()
    try:
        tasks = dms.describe_replication_tasks()["ReplicationTasks"]
        return now, sum(_rows(dms, task["ReplicationTaskArn"]) for task in tasks)
    except (BotoCoreError, ClientError):
        return now, 0


def _rows(dms: Any, task: str) -> int:
    pages = dms.get_paginator("describe_table_statistics").paginate(ReplicationTaskArn=task)
    return sum(table["FullLoadRows"] for page in pages for table in page["TableStatistics"])
