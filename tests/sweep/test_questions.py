"""How many questions a sweep asks, for how much and how long, by hand."""

from pathlib import Path

import anndata
import pandas as pd
import pytest
from tiny import config

from llm4grn.cli.config import build_setting
from llm4grn.store import Store
from llm4grn.sweep.jobs import Job, planned_pipelines
from llm4grn.sweep.preflight import Problems
from llm4grn.sweep.questions import Cost, costs

LINE = ["dataset=pbmc", "llm=gpt4", "llm.max_tokens=1000"]


@pytest.fixture
def planned(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def planned(*jobs: str, shared: str = "") -> dict[tuple[str, str], Cost]:
        words = [*LINE, f"paths.data={tmp_path}", f"paths.answers={tmp_path}/answers.sqlite", *shared.split()]
        settings = [build_setting(config(*words, *job.split(), name="infer_grn")) for job in jobs]
        problems = Problems()
        pipelines = planned_pipelines([Job(i, (), setting) for i, setting in enumerate(settings)], Store(tmp_path))
        found = costs(pipelines, problems)
        assert not problems
        return {(cost.about, cost.dataset): cost for cost in found}

    return planned


def test_a_thousand_genes_are_99_windows_and_900_targets(planned):
    """Windows of 20 genes that share 10: 1 + (1000 - 20) / 10. One gene in ten is taken for a TF."""
    found = planned("kb=gpt4 inferer=llm")
    windows, targets = found["transcription factors", "pbmc"], found["regulators", "pbmc"]
    assert (windows.n_questions, windows.n_answered, windows.is_guess) == (99, 0, True)
    assert (targets.n_questions, targets.n_answered, targets.is_guess) == (900, 0, True)
    for cost in windows, targets:
        # 30 and 60 dollars for a million tokens, answers of 1000 tokens; 32 questions at once, 10 s each
        assert cost.dollars == pytest.approx((cost.prompt_tokens * 30 + cost.n_questions * 1000 * 60) / 1e6)
        assert cost.seconds == pytest.approx(cost.n_questions * 10 / 32)
    # 100 TFs of 8 characters and a comma or so each: 5 tokens, and with each digit a token 8
    assert 900 * 100 * 5 * 1.25 < targets.prompt_tokens < 900 * 1400


@pytest.mark.slow
def test_seeds_share_questions_and_knowledge_bases_do_not(planned):
    assert planned("inferer=llm seed=1", "inferer=llm seed=2")["regulators", "pbmc"].n_questions == 900
    assert planned("inferer=llm", "kb=gpt4 inferer=llm")["regulators", "pbmc"].n_questions == 1800
    assert planned("inferer=llm", "inferer=random kb=gpt4")["regulators", "pbmc"].n_questions == 900


@pytest.mark.slow
def test_above_temperature_0_every_inference_seed_has_its_own(planned):
    seeds = "inferer=llm inference_seed=1", "inferer=llm inference_seed=2"
    assert planned(*seeds)["regulators", "pbmc"].n_questions == 900
    assert planned(*seeds, shared="llm.temperature=0.7")["regulators", "pbmc"].n_questions == 1800


def test_who_asks_nobody_costs_nothing(planned):
    assert planned("inferer=random", "inferer=grnboost2") == {}


def test_limits_per_minute_take_their_time(planned):
    slow = planned("inferer=llm", shared="llm.requests_per_minute=30")["regulators", "pbmc"]
    assert slow.seconds == pytest.approx(900 * 2)
    tokens = planned("inferer=llm", shared="llm.tokens_per_minute=60000")["regulators", "pbmc"]
    assert tokens.seconds == pytest.approx((tokens.prompt_tokens + 900 * 1000) / 1000)


# ---------------------------------------------------------------- from a recording

GENES = (Path(__file__).parents[1] / "data" / "pbmc3k_genes.txt").read_text().split()


def shipped(folder: Path, *words: str, genes: list[str] | None = None) -> tuple[list[Cost], Problems]:
    """Costs and problems of a job that asks the shipped recording, with the genes in the store if there are any."""
    setting = build_setting(config("llm=shipped", "inferer=llm", *words, name="infer_grn"))
    pipelines, problems = planned_pipelines([Job(0, (), setting)], Store(folder)), Problems()
    if genes is not None:
        cells = anndata.AnnData(var=pd.DataFrame(index=genes))
        pipelines[0].store.get_or_run(pipelines[0].data, lambda folder: cells.write_h5ad(folder / "cells.h5ad"))
    return costs(pipelines, problems), problems


def test_questions_to_a_recording_are_answered_and_cost_neither_money_nor_time(tmp_path):
    found, problems = shipped(tmp_path, genes=GENES)
    assert not problems
    [cost] = found
    assert (cost.llm, cost.n_questions, cost.n_answered, cost.is_guess) == ("claude", 40, 40, False)
    assert (cost.prompt_tokens, cost.dollars, cost.seconds) == (0, 0.0, 0.0)


def test_questions_that_are_not_known_yet_count_as_answered_by_a_recording_too(tmp_path):
    found, problems = shipped(tmp_path, "kb=llm")
    assert not problems
    assert [(cost.n_questions, cost.n_answered) for cost in found] == [(99, 99), (45, 45)]
    assert all((cost.is_guess, cost.dollars, cost.seconds) == (True, 0.0, 0.0) for cost in found)


def test_what_a_recording_lacks_is_a_problem_before_the_first_job(tmp_path):
    found, problems = shipped(tmp_path, "graph.k=5", genes=GENES)
    assert found == []
    [line] = problems.lines(1)
    assert "llm=shipped: no answer to a question with the line" in line
    assert "the recording covers" in line
