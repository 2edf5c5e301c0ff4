"""The benchmark of the cutover, small and without Airflow: every way there and back, and every write accounted for."""

import json
from pathlib import Path

import pytest
from bench.cutover.__main__ import main
from bench.cutover.report import NOTHING, PRODUCT, RUNBOOK

SMALL = ["--rounds", "1", "--tps", "60", "--clients", "4", "--rows", "1000", "--skip-airflow"]


@pytest.mark.slow
def test_there_and_back_by_the_product_and_by_the_runbook_with_no_write_lost(tmp_path: Path) -> None:
    out = tmp_path / "cutover.json"

    assert main([*SMALL, "--out", str(out)]) == 0

    found = json.loads(out.read_text())
    assert [(event["way"], event["direction"]) for event in found["events"]] == [
        (PRODUCT, "forward"),
        (PRODUCT, "back"),
        (NOTHING, ""),
        (RUNBOOK, "forward"),
        (RUNBOOK, "back"),
    ]
    for way, about in found["ways"].items():
        assert about["writes"]["acknowledged"] > 50, way
        assert (about["writes"]["lost"], about["writes"]["doubled"]) == (0, 0), way
    product, runbook = found["ways"][PRODUCT], found["ways"][RUNBOOK]
    assert {"pause", "fence", "drain", "arm", "prove", "decide", "open"} <= set(product["steps_ms"])
    assert list(runbook["steps_ms"]) == ["pause", "lag", "sequences", "reload", "resume"]
    for about in (product, runbook):
        assert about["longest_ms"]["min"] > 0.5 * about["held_ms"]["min"], "clients were held, and it was seen"
    assert set(found["ratios"]) == {"runbook_to_product", "product_to_baseline"}


def test_options_that_leave_nothing_to_measure_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rounds", "0", "--skip-airflow"])
    assert "nothing to measure" in capsys.readouterr().err
