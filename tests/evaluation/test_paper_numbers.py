"""The numbers are compared with the project's protocol, section 7, and named so that they meet ours."""

from collections import Counter
from pathlib import Path

import pytest

from llm4grn.evaluation.scores.paper_numbers import paper_rows
from llm4grn.results import SOURCES

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ["pbmc", "pbmc_ctl", "bone_marrow", "linear_uniform"]
ALL = paper_rows(DATASETS)
#: Means of the protocol (data set, KB, inferer or baseline): cosine, Euclidean, MMD, RF AUROC.
PROTOCOL = {
    ("pbmc", "", "control"): (0.00029, 100, 0.0051, 0.49),
    ("pbmc", "human", "grnboost2"): (0.00047, 121, 0.0139, 0.73),
    ("pbmc", "gpt4", "llm"): (0.00026, 90, 0.0206, 0.86),
    ("pbmc", "llama", "grnboost2"): (0.00016, 74, 0.0064, 0.59),
    ("pbmc_ctl", "", "stage1"): (0.00023, 63, 0.0049, 0.57),
    ("pbmc_ctl", "human", "llm"): (0.00265, 176, 0.0238, 0.79),
    ("bone_marrow", "gpt4", "random"): (0.00297, 96, 0.0172, 0.79),
    ("linear_uniform", "truth", "grnboost2"): (0.00061, 93, 0.0152, 0.63),
}


@pytest.mark.parametrize("where", PROTOCOL)
def test_means_are_those_of_the_protocol(where):
    (row,) = [row for row in ALL if (row.dataset, row.kb, row.inferer or row.source) == where]
    assert tuple(row.mean.values()) == PROTOCOL[where]
    assert list(row.mean) == ["cosine_distance", "euclidean_distance", "mmd", "rf_auroc"]


def test_every_line_of_the_three_tables_is_there_once():
    assert Counter(row.table for row in ALL) == {"1": 3 * 8, "2": 3, "4": 3}
    assert len({(row.dataset, row.source, row.kb, row.inferer) for row in ALL}) == len(ALL) == 30
    assert all(std > 0 or name == "mmd" for row in ALL for name, std in row.std.items())  # some MMDs print as ±0.000


def test_names_are_those_of_the_configuration():
    for row in ALL:
        assert (ROOT / "conf" / "dataset" / f"{row.dataset}.yaml").is_file()
        assert row.source in SOURCES
        if row.source == "run":
            assert (ROOT / "conf" / "kb" / f"{row.kb}.yaml").is_file()
            assert (ROOT / "conf" / "inferer" / f"{row.inferer}.yaml").is_file()
        assert (row.source == "run") == bool(row.kb and row.inferer)
    assert {row.setting for row in ALL if row.dataset == "pbmc"} == {"Baseline", "Setting 1", "Setting 2"}
    assert {row.llm for row in ALL if row.inferer == "llm"} == {"gpt4", "llama"}


def test_digits_are_the_papers():
    (row,) = [row for row in paper_rows(["pbmc"]) if row.source == "control"]
    assert row.printed["rf_auroc"] == ("0.49", "0.017")
    assert row.std["euclidean_distance"] == 16


def test_other_data_sets_have_none():
    assert paper_rows(["pbmc3k"]) == []
    assert {row.dataset for row in paper_rows(["pbmc3k", "bone_marrow"])} == {"bone_marrow"}
