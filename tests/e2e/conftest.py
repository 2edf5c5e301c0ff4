"""One stage for all end-to-end tests: starting it takes most of a minute."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importmode=importlib leaves helpers beside the tests unreachable

from stage import stage as set_up

PLANS = ("approved", "doubted", "killed", "carried")


@pytest.fixture(scope="package")
def stage():
    with set_up(PLANS) as running:
        yield running
