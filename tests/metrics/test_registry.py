"""The registry: complete, printable, and cheap to import."""

import json
import subprocess
import sys

import numpy as np
import pytest

from llm4grn.metrics.registry import METRICS, metric_parameters


def test_names_are_keys_and_labels_are_distinct():
    assert [info.name for info in METRICS.values()] == list(METRICS)
    assert list(METRICS)[:5] == ["cosine_distance", "euclidean_distance", "mmd", "rf_auroc", "milisi"]
    assert len({info.label for info in METRICS.values()}) == len(METRICS) == 9


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cosine_distance", "0.12346"),
        ("euclidean_distance", "0.1"),
        ("mmd", "0.1235"),
        ("rf_auroc", "0.123"),
        ("milisi", "0.123"),
        ("gene_correlations", "0.1235"),
    ],
)
def test_decimals(name, text):
    assert METRICS[name].format(0.123456) == text


def test_an_auroc_below_a_half_is_no_better_than_a_half():
    auroc = METRICS["rf_auroc"]
    assert auroc.shortfall(0.45) == auroc.shortfall(0.5) == 0.0
    assert auroc.shortfall(0.6) < auroc.shortfall(0.7)


def test_of_two_mixings_the_higher_is_better():
    milisi = METRICS["milisi"]
    assert milisi.shortfall(2.0) == 0.0
    assert milisi.shortfall(1.9) < milisi.shortfall(1.5)
    assert milisi.arrow == "↑"


def test_seeds_reach_the_metrics_that_draw():
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=(2, 10, 4))
    seen = []
    for info in METRICS.values():
        spied = type(info)(
            **{**vars(info), "function": lambda *args: float(len(args)), "parameters": dict(info.parameters)}
        )
        seen.append(spied(real, synthetic, 3))
    assert dict(zip(METRICS, seen, strict=True)) == {
        name: 3.0 if name in ("rf_auroc", "milisi") else 2.0 for name in METRICS
    }


def test_parameters_are_json_and_name_the_space():
    parameters = json.loads(json.dumps(metric_parameters()))
    assert all("20,000" in entry["space"] for entry in parameters.values())
    assert "24th" in parameters["mmd"]["m"]


def test_importing_registry_and_tables_loads_no_heavy_library():
    code = (
        "import sys; import llm4grn.evaluation.scores.tables, llm4grn.evaluation.report.run_report, "
        "llm4grn.evaluation.cells.plots, "
        "llm4grn.evaluation.scores.score, llm4grn.metrics.registry; "
        "print({'torch', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'anndata'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
