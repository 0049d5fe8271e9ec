"""Sweeps: planned and checked before they start, each stage computed once, failures named, kills survived."""

import json
import random
import re
import shlex
import time
from functools import cache
from pathlib import Path

import pytest
from server import running_server
from sweeping import end, inferring, numbers, ran, stages, start, sweep_folder, training
from tiny import write_counts
from warm import ROOT

pytestmark = pytest.mark.slow

SWEEPS = sorted((ROOT / "multirun_sweeps").glob("*.yaml"))


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("data") / "counts.h5ad")


# -- while it runs, and at the end -------------------------------------------------------------------------------------

ONCE = {"data": 2, "tfs": 2, "controller": 2, "grn": 4, "graph": 4, "causal_gan": 4, "cells": 8, "scores": 8, "tsne": 4}
ONCE |= {"predictive_ruler": 2, "predictive": 4}


@pytest.fixture(scope="module")
def finished(counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "outputs"
    return folder, *end(training(counts, folder))


def test_all_settings_are_there_and_compared_and_each_stage_was_computed_once(finished):
    folder, out, err = finished
    assert stages(folder) == ONCE
    assert max(ran(err).values()) == 1
    assert len(numbers(folder)) == 4
    table = out.rpartition("\nScores")[2]  # the last one
    for row in "control +floor", "stage 1", "random +useless method", "correlation":
        assert re.search(rf" {row} +2 ", table), row  # n: one sample of each seed
    assert "all 4 jobs done" in table
    sweep = sweep_folder(folder)
    assert "| Setting 1 |" in (sweep / "comparison.md").read_text()
    assert (sweep / "report.html").is_file()
    assert len((sweep / "comparison.csv").read_text().splitlines()) == 1 + 4 * 3
    records = [json.loads(path.read_text()) for path in (sweep / "jobs").glob("*.json")]
    assert sorted(record["number"] for record in records) == [0, 1, 2, 3]
    assert {record["status"] for record in records} == {"done"}
    assert all((Path(record["folder"]) / "results.json").is_file() for record in records)


def test_repeated_it_computes_nothing_and_says_so(finished, counts):
    folder, *_ = finished
    before = numbers(folder)
    out, err = end(training(counts, folder))
    assert "Nothing is left to compute." in out
    assert out.count("none, finished") == 4
    assert not ran(err)
    assert numbers(folder) == before


def test_the_plan_of_what_is_half_done_tells_time_and_what_is_shared(finished, counts):
    folder, *_ = finished
    out, _ = end(training(counts, folder, "seed=2000,3000", "plan_only=true"))
    numbered = [line.split() for line in out.splitlines() if re.match(r"[a-z_]+( +\d+){4} ", line)]
    table = {name: rest for name, *rest in numbered}
    assert table["controller"][:4] == ["4", "2", "1", "1"]  # wanted, different, in the store, to run
    assert table["causal_gan"][:4] == ["4", "4", "2", "2"]
    assert "unknown" not in out  # both ran before, with another seed
    assert re.search(r"Expected time: \d+ s", out)
    assert stages(folder) == ONCE


def test_joblib_two_at_once_gives_the_same_numbers_and_no_stage_twice(finished, counts, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = tmp_path / "outputs"
    # Side by side, the two inferers want the same controller at the same moment.
    parallel = ["seed=1000", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    out, err = end(training(counts, folder, *parallel))
    assert stages(folder) == {stage: n // 2 for stage, n in ONCE.items()}
    assert max(ran(err).values()) == 1
    assert len(numbers(folder)) == 2
    assert numbers(folder).items() <= numbers(finished[0]).items()
    assert "all 2 jobs done" in out


def graphs(folder: Path) -> dict[str, bytes]:
    """What each job of ``infer_grn.py`` wrote."""
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in folder.glob("grn_*/g*.[jt]s*")}


DISTURBED = ["inferer=random,correlation", "seed=1,2,3"]


@pytest.fixture(scope="module")
def undisturbed(counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "outputs"
    end(inferring(counts, folder, *DISTURBED))
    return graphs(folder)


@pytest.mark.parametrize("victims", ["leader", "workers"])
def test_killed_at_any_moment_and_repeated_it_ends_as_if_undisturbed(undisturbed, counts, tmp_path, victims):
    """No lock needs a human, and nothing is there twice. Kills in the midst of a training: tests/test_scripts.py."""
    psutil = pytest.importorskip("psutil")
    grid = [*DISTURBED]
    if victims == "workers":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
        grid += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    folder, moments, kills = tmp_path / "outputs", random.Random(7), 0
    for _ in range(3 if victims == "leader" else 1):  # workers take seconds to begin
        process = inferring(counts, folder, *grid)
        begun = next((line for line in process.stderr if "running" in line), None)
        time.sleep(moments.uniform(0, 1))
        if begun and process.poll() is None:
            workers = [
                child for child in psutil.Process(process.pid).children(recursive=True) if "popen_loky" in _words(child)
            ]
            for victim in workers[:1] if victims == "workers" else [process]:
                victim.kill()
                kills += 1
        process.communicate()
    assert kills
    end(inferring(counts, folder, *DISTURBED, cold=victims == "leader"))  # cold: with other hashes of texts
    assert graphs(folder) == undisturbed
    assert len(graphs(folder)) == 6 * 2
    assert stages(folder) == {"data": 3, "tfs": 3, "grn": 6, "graph": 6, "predictive_ruler": 3, "predictive": 6}


def _words(process) -> str:
    try:
        return " ".join(process.cmdline())
    except Exception:  # it has just ended
        return ""


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_failed_job_is_named_and_the_others_finish(counts, tmp_path, launcher):
    if launcher == "joblib":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    folder = tmp_path / "outputs"
    out, err = end(inferring(counts, folder, "graph.k=100,2", "seed=1,2", f"hydra/launcher={launcher}"), code=1)
    assert len(list(folder.glob("grn_*/graph.json"))) == 2
    assert "2 of 4 jobs are not done" in err
    said = re.findall(r"job (\d) \((graph\.k=\d+ seed=\d)\): (.*)", err)
    assert [(number, which) for number, which, _ in said] == [("0", "graph.k=100 seed=1"), ("1", "graph.k=100 seed=2")]
    assert all("5 TFs" in line for *_, line in said)
    stories = [Path(line.strip()).read_text() for line in err.splitlines() if line.endswith(".traceback")]
    assert len(stories) == 2
    assert all("UserError" in story for story in stories)
    assert "plan" not in out
    page = (sweep_folder(folder) / "comparison.md").read_text()
    assert "2 of 4 jobs are not done: job 0 (graph.k=100 seed=1)" in page


def test_the_jobs_of_submitit_end_like_any_other(counts, tmp_path):
    """With its local executor: the same pickles and processes as on a cluster, without SLURM."""
    pytest.importorskip("submitit")
    folder = tmp_path / "outputs"
    launcher = ["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=5"]
    _, err = end(inferring(counts, folder, "graph.k=2,100", *launcher), code=1)
    assert len(list(folder.glob("grn_*/graph.json"))) == 1
    assert "1 of 2 jobs are not done" in err
    assert re.search(r"job 1 \(graph\.k=100\): .*5 TFs", err)
    assert stages(folder) == {"data": 1, "tfs": 1, "grn": 1, "graph": 1, "predictive_ruler": 1, "predictive": 1}
    assert list(sweep_folder(folder).glob(".submitit/*/*_log.err"))


def test_a_killed_worker_ends_the_sweep_with_a_word_about_it(counts, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    psutil = pytest.importorskip("psutil")
    folder = tmp_path / "outputs"
    endless = ["model.controller.steps=1000000", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    process = training(counts, folder, *endless)
    for line in process.stderr:
        if "running controller" in line:
            break
    for child in psutil.Process(process.pid).children(recursive=True):
        if "popen_loky" in _words(child):
            child.kill()
    _, err = end(process, code=1)
    assert "its process ended without a word" in err
    assert "the jobs were stopped: TerminatedWorkerError" in err
    assert "The same command again" in err
    assert "Traceback" not in err


def test_inference_seeds_are_compared_by_the_overlap_of_their_graphs(counts, tmp_path):
    folder = tmp_path / "outputs"
    out, _ = end(inferring(counts, folder, "inference_seed=1,2,3", "inferer=random,correlation"))
    found = re.findall(r"human · (\w+) +itself, other seed +same +(\d) +([\d.]+)", out)
    overlap = {inferer: float(value) for inferer, n_pairs, value in found if n_pairs == "3"}
    assert overlap["correlation"] == 1.0  # it draws nothing
    assert 0.1 < overlap["random"] < 0.6  # two of five TFs by chance: 0.30 expected
    assert (sweep_folder(folder) / "report.html").is_file()


# -- before it starts --------------------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_and_nothing_starts(counts, tmp_path):
    folder = tmp_path / "outputs"
    wrong = ["dataset.path=" + f"{counts},{tmp_path}/absent.h5ad", "graph.k=2,0", "kb=human,gpt4", "llm=gpt4"]
    _, err = end(inferring(counts, folder, *wrong), code=2)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    for text in "graph.k=0", "absent.h5ad", "OPENAI_API_KEY":
        assert sum(text in line for line in lines) == 1, text
    assert len(lines) == 3
    assert re.search(r"graph\.k=0.*\(jobs .*\)$", err, re.M)
    assert not folder.exists()


def test_combinations_that_make_no_sense_are_refused_before_the_sweep(counts, tmp_path):
    _, err = end(inferring(counts, tmp_path / "outputs", "inferer=random,llm"), code=2)
    assert "inferer=llm asks a language model" in err
    assert "(job 1)" in err
    assert not (tmp_path / "outputs").exists()


def test_as_many_questions_are_asked_as_were_planned(counts, tmp_path):
    folder = tmp_path / "outputs"
    end(inferring(counts, folder, "seed=1,2", "inferer=random"))  # so that genes and TFs are known
    with running_server(k=2) as server:
        asking = ["llm=openai_compatible", f"llm.base_url={server.url}", "llm.model=test-model", "seed=1,2"]
        asking += ["inferer=llm,random", f"paths.answers={tmp_path / 'answers.sqlite'}"]
        planned, _ = end(inferring(counts, folder, *asking, "plan_only=true"))
        (row,) = re.findall(r"^test-model +regulators +h5ad +(\S+) +(\S+) ", planned, re.M)
        assert row == ("25", "0")  # both splits have the same 25 targets, and at temperature 0 share the answers
        assert not server.events()
        end(inferring(counts, folder, *asking))
        assert sum(event["success"] for event in server.events()) == 25
        planned, _ = end(inferring(counts, folder, *asking, "plan_only=true"))
    assert "Nothing is left to compute." in planned
    _, err = end(inferring(counts, folder, *asking, "graph.k=3"), code=2)  # more regulators: other questions
    assert f"llm=test-model: {server.url} cannot be reached" in err
    assert "(jobs 0-1)" in err


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """What the command that a grid's comment shows writes in an empty folder, and the folder; once for each grid."""

    @cache
    def planned(path: Path) -> tuple[str, str, Path]:
        text, folder = path.read_text(), tmp_path_factory.mktemp(path.stem)
        shown = re.findall(r"#   python (\w+\.py -m .*plan_only=true)", text)
        (command,) = [shlex.split(line.split("  ")[0]) for line in shown]
        assert f"+multirun_sweeps={path.stem}" in command
        return *end(start(*command, cwd=folder)), folder

    return planned


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_grid_is_planned_from_any_folder_without_data_or_key(path, planned):
    text = path.read_text()
    out, err, folder = planned(path)
    n_jobs = int(re.match(rf"{path.stem}: (\d+) jobs", out)[1])
    assert out.count("\n0    ") == 1
    assert f"\n{n_jobs - 1:<5}" in out
    assert "cannot be built" not in out
    assert not list(folder.iterdir())  # nothing was computed, downloaded or asked
    if "dataset: pbmc," in text or "dataset: pbmc\n" in text:
        assert "its files are not there" in err
    if "llm: gpt4" in text:
        assert "OPENAI_API_KEY is not set" in err
        assert re.search(r"^sum +~[\d,]{5,} +0 +[\d,]+ +[\d,.]+ +[\d,.]+$", out, re.M)
    if "llm: llama" in text:
        assert "LLAMA_BASE_URL is not set" in err


def test_the_papers_grids_have_all_their_settings(planned):
    out, *_ = planned(ROOT / "multirun_sweeps" / "table1.yaml")
    rows = [line.split()[1:] for line in out.splitlines() if re.match(r"\d+ +(pbmc|bone_marrow)", line)]
    settings = {(dataset, kb, inferer, seed) for dataset, kb, inferer, _, _, _, _, seed, *_ in rows}
    datasets, kbs, inferers = ("pbmc", "pbmc_ctl", "bone_marrow"), ("human", "gpt4"), ("llm", "grnboost2", "random")
    assert settings == {(d, k, i, s) for d in datasets for k in kbs for i in inferers for s in ("1000", "2000")}
    assert re.search(r"^controller +36 +6 ", out, re.M)  # one per data set and split
    # 99 windows of 20 genes with 10 shared for the TFs, and 900 targets for each of two lists of TFs
    assert re.search(r"^sum +~5,697 ", out, re.M)


def test_a_single_run_has_a_plan_too(tmp_path):
    out, _ = end(start("train.py", "plan_only=true", cwd=tmp_path, cold=True))
    assert out.startswith("run: 1 job\n")
    assert "12 of 12" in out
    assert not list(tmp_path.iterdir())
