"""The benchmark for GPUs, rehearsed on the CPU: parts that fail leave the others alone, and all of it runs."""

import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from benchmarks.gpu_report import FIRST, compared_scores, failed_checks
from benchmarks.step_cost import Operation, count, roofline_seconds, totals


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory):
    """The folder of the rehearsal's reports, and what it printed."""
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, str(Path(__file__).with_name("gpu_rehearsal.py")), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def report(folder: Path, name: str):
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_parts_survive_each_other(rehearsal):
    found = report(rehearsal[0], "gpu.json")["parts"]
    bad = {"fails": "failed", "dies": "failed", "hangs": "failed", "late": "skipped"}
    assert {name: part["status"] for name, part in found.items()} == {name: bad.get(name, "ok") for name in found}
    assert found["fails"]["error"] == "ValueError: no luck"
    assert "in fails" in found["fails"]["log"]
    assert found["dies"]["results"] == {"before": 3}
    assert "its process ended with status" in found["dies"]["error"]
    assert found["hangs"]["error"] == "ended after its 1 s"
    assert "s were left of 3000" in found["late"]["error"]
    assert found["works"]["results"] == {"known": {"fails": 2, "dies": 3, "hangs": None}, "infinite": "inf"}
    child = found["hangs"]["results"]["child"]
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert "failed: fails: ValueError: no luck" in rehearsal[1]


@pytest.mark.slow
def test_a_device_that_cannot_be_used_skips_the_rest(rehearsal):
    unusable = report(rehearsal[0], "unusable.json")
    assert unusable["parts"][FIRST]["error"] == "ValueError: no luck"
    assert unusable["parts"]["late"]["error"] == "the device cannot be used: ValueError: no luck"


@pytest.mark.slow
def test_what_is_measured(rehearsal):
    whole = report(rehearsal[0], "gpu.json")
    results = {name: part.get("results", {}) for name, part in whole["parts"].items()}
    assert whole["checks"] == []
    for case in "recorded", "paper":
        assert results["agreement"][case]["agrees"]
        assert results["agreement"][case]["repeats_to_the_bit"]
    assert 0 < results["agreement"]["paper"]["device"]["critic gradients"] < 1e-5
    for name, way in (
        ("paper bfloat16", "eager"),
        ("paper bfloat16 compiled", "compiled"),
        ("groundgan bfloat16", "eager"),
    ):
        step = results[name][way]
        assert step["hours_of_240000"] == pytest.approx(step["seconds"] * 240_000 / 3600)
        assert 0 < step["share_of_products"] <= step["share_of_roofline"] <= step["share_of_unfused"]
        assert way == "eager" or step["loss_gap_to_eager"] < 1e-3
        assert f"{name.removesuffix(' compiled')}, {way}" in rehearsal[1]
    assert len(results["metrics"]) == 7
    assert all(metric["agrees"] for metric in results["metrics"].values())
    assert all(rate > 0 for rate in results["generation"].values())
    assert set(whole["small_equals_cpu"]) == {"mmd", "rf_auroc"}


def test_scores_agree_within_their_spread():
    def trainings(*values):
        return {"results": {str(i): {"mmd": value, "rf_auroc": 0.6} for i, value in enumerate(values)}}

    near = {"small": trainings(0.010, 0.012), "small on the CPU, 4": trainings(0.011, 0.013)}
    far = {"small": trainings(0.050, 0.052), "small on the CPU, 4": trainings(0.011, 0.013)}
    assert compared_scores(near)["mmd"]["agrees"]
    assert not compared_scores(far)["mmd"]["agrees"]
    assert "unknown" in compared_scores({"small": trainings(0.01)})
    assert failed_checks(far) == ["small_equals_cpu: mmd"]
    assert failed_checks(near) == []


@pytest.mark.slow  # torch imports much when it first counts
def test_cost_of_a_step():
    a, b = torch.randn(3, 4), torch.randn(4, 5)
    operations = count(lambda: (a @ b).t().relu_())
    product, relu = Operation("aten.mm", "float32", 120, 188), Operation("aten.relu_", "float32", 0, 120)
    assert operations == [product, relu]
    assert totals(operations)["gb"] == pytest.approx(308e-9)
    seconds = roofline_seconds(operations, {"float32": 12.0}, 94.0)
    assert seconds == {"products": 10.0, "roofline": 10.0, "unfused": pytest.approx(10 + 120 / 94)}
    assert roofline_seconds(operations, {"float32": 1200.0}, 94.0)["roofline"] == 2.0
