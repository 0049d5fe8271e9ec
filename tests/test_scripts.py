"""The three scripts on a tiny data set: what they write, what they reuse, and that a kill changes nothing."""

import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import anndata
import numpy as np
import pytest
from tiny import options, write_counts
from warm import ROOT, WarmProcess

from llm4grn.grn.causal_graph import CausalGraph

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("data") / "counts.h5ad")


# One thread for all: sums over two threads round differently, and a few tests compare bytes.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def cold(name: str, *arguments: str, cwd: Path, code: int = 0) -> tuple[str, str]:
    """Start a script as a user does; what it writes to stdout and stderr."""
    return started([sys.executable, str(ROOT / name), *arguments], cwd, code)


def fresh(name: str, *arguments: str, cwd: Path, code: int = 0) -> tuple[str, str]:
    """The same with small forests, for numbers that are compared with those of a warm start."""
    return started([sys.executable, str(ROOT / "tests" / "warm.py"), str(ROOT / name), *arguments], cwd, code)


def started(command: list[str], cwd: Path, code: int) -> tuple[str, str]:
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def warm(name: str, *arguments: str, cwd: Path, code: int = 0) -> tuple[str, str]:
    """The same, seconds faster."""
    process = WarmProcess(name, *arguments, cwd=cwd, environment=ENVIRONMENT)
    out, err = process.communicate()
    assert process.returncode == code, err
    return out, err


def train(counts: Path, folder: Path, *more: str, start=warm) -> tuple[str, str]:
    return start("train.py", *options(counts, folder), *more, cwd=folder.parent)


def run_folder(folder: Path, pattern: str = "h5ad_*") -> Path:
    (found,) = folder.glob(pattern)
    return found


def stages(folder: Path) -> dict[str, set[str]]:
    """Finished stages in the store, by name."""
    folders = [stage for stage in (folder / "store").iterdir() if not stage.name.startswith(".")]
    return {stage.name: {finished.name for finished in stage.iterdir()} for stage in folders}


@pytest.fixture(scope="module")
def finished(counts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "outputs"
    return folder, *train(counts, folder)


def test_a_run_prints_its_table_and_writes_its_folder(finished):
    folder, out, err = finished
    run = run_folder(folder)
    for line in "control", "stage 1", "Setting 1 · human", "random / useless method", "RF AUROC":
        assert line in out
    for name in "tsne.png", "report.md", "results.csv":
        assert str(run / name) in out
        assert (run / name).stat().st_size > 0
    with (run / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    setting = ["dataset", "kb", "inferer", "llm", "model", "graph", "seed"]
    assert list(rows[0]) == [*setting, "sample", "source", "metric", "value"]
    assert len(rows) == 3 * 2 * 9 + 2  # sources x samples x metrics, and two scores of the network
    of_network = {row["metric"] for row in rows if row["metric"].startswith("predictive_")}
    assert of_network == {"predictive_raw_ridge", "predictive_within_type_ridge"}
    assert (run / "predictive.tsv").is_file()
    report = (run / "report.md").read_text()
    assert "Held-out predictive score of the graph" in report
    listed = ["results.csv", "grn.tsv", "graph.json", "config.yaml", "test.h5ad", "predictive.tsv", "synthetic_1.h5ad"]
    assert all(f"({name})" in report or f"`{name}`" in report for name in listed)
    assert "Language model" not in report  # none took part
    assert {row["source"] for row in rows} == {"control", "stage1", "run"}
    described = json.loads((run / "results.json").read_text())["run"]
    assert described["graph"]["edges"] == 2 * 25
    assert "Traceback" not in err


def test_synthetic_cells_are_whole_and_say_where_they_come_from(finished):
    folder, *_ = finished
    run = run_folder(folder)
    test = anndata.read_h5ad(run / "test.h5ad")
    sets = [anndata.read_h5ad(run / f"synthetic_{i}.h5ad") for i in range(2)]
    for i, cells in enumerate(sets):
        assert cells.shape == test.shape == (40, 30)
        assert list(cells.var_names) == list(test.var_names)
        totals = np.asarray(cells.X.sum(axis=1)).ravel()
        np.testing.assert_allclose(totals[totals > 0], 20_000, rtol=1e-5)
        assert cells.uns["provenance"]["inferer"] == "random"
        assert cells.uns["provenance"]["sample"] == str(i)
    assert (sets[0].X != sets[1].X).nnz > 0


def test_the_same_command_again_computes_nothing(finished, counts):
    folder, first, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again, _ = train(counts, folder, start=cold)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before


def test_another_inferer_reuses_data_and_controller(finished, counts):
    folder, *_ = finished
    before = stages(folder)
    train(counts, folder, "inferer=grnboost2", "inferer.n_jobs=1")
    after = stages(folder)
    for shared in "data", "tfs", "controller":
        assert after[shared] == before[shared]
    for own in "grn", "graph", "causal_gan":
        assert len(after[own]) == len(before[own]) + 1
    assert len(after["scores"]) == len(before["scores"]) + 1  # control and stage 1 are scored once


def evaluate(folder: Path, *more: str, start=warm) -> str:
    """What it writes to stdout."""
    paths = f"paths.outputs={folder}", f"paths.store={folder}/store"
    return start("evaluate.py", *paths, *more, cwd=folder.parent)[0]


def test_runs_are_compared_in_files_and_on_a_page(finished, counts):
    folder, *_ = finished
    train(counts, folder, "inferer=grnboost2", "inferer.n_jobs=1")
    out = evaluate(folder, "recovery=true", start=cold)
    comparison = folder / "comparison"
    answer = "One seed: no test, so this may be chance: with", "than a random network", "What this rests on"
    for words in (*answer, "random / useless method", "grnboost2"):
        assert words in " ".join(out.split())
    for name in "report.html", "comparison.md", "comparison.csv", "tables", "figures":
        assert str(comparison / name) in out
    page = (comparison / "report.html").read_text()
    for words in "How to reproduce", "inferer=grnboost2", "Recovery of the imposed graph", "data:image/png;base64,":
        assert words in page
    shown = {path.name for path in (comparison / "tables").iterdir()}
    assert {"scores.csv", "intervals.tex", "differences.md", "graph_density.txt"} <= shown

    before = {path: path.read_bytes() for path in comparison.rglob("*") if path.is_file()}
    assert evaluate(folder, "recovery=true") == out
    assert {path: path.read_bytes() for path in comparison.rglob("*") if path.is_file()} == before


def test_scores_are_the_same_when_cells_are_scored_again(finished):
    folder, *_ = finished
    tables = [
        evaluate(folder, "plausibility=false", "html=false", f"name={name}", *more).partition("table  ")[0]
        for name, more in (("read", []), ("scored", ["rescore=true"]))
    ]
    assert tables[0] == tables[1]
    assert not (folder / "read" / "report.html").exists()


def test_a_comparison_is_shown_in_wandb(finished):
    from wandb_reader import read, summary

    folder, *_ = finished
    evaluate(folder, "plausibility=false", "logger=wandb", "logger.mode=offline", "name=shown")
    (offline,) = (folder / "wandb").glob("offline-run-*")
    records = read(offline)
    assert records["run"][0]["job_type"] == "comparison"
    shown = {name.partition(".")[0] for name in summary(records)}
    assert {"tables/scores", "tables/graph_density", "figures/answer_h5ad"} <= shown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["paper=perhaps"], "paper=perhaps: expected true or false"),
        (["recovery=3"], "recovery=3: expected true or false"),
        (["name=../elsewhere"], "name=../elsewhere: expected the name of a folder"),
        (["name=store"], "is no comparison; choose another name"),
        (["runs=null"], "runs=None: expected a folder of a run"),
        (["runs=nothing_here"], "runs=nothing_here: no finished run there"),
        (["reference=nothing.tsv"], "reference=nothing.tsv: cannot be read"),
        (["celltypist=nothing.pkl"], "celltypist=nothing.pkl: there is no such file"),
        (["seed=-1"], "seed=-1: expected a whole number"),
        (["logger=tensorboard"], "use logger=csv or logger=wandb"),
    ],
)
def test_evaluate_refuses_what_it_cannot_do_before_any_work(finished, options, words):
    folder, *_ = finished
    _, err = warm("evaluate.py", f"paths.outputs={folder}", *options, cwd=folder.parent, code=2)
    assert words in err
    assert len(err.strip().splitlines()) == 1


def test_perturb_changes_descendants_of_what_it_is_told_and_nothing_else(finished):
    folder, *_ = finished
    run = run_folder(folder, "h5ad_*random*")  # another test may have added a run
    graph = CausalGraph.from_json(run / "graph.json")
    out, _ = cold("perturb.py", f"run={run}", "do={SPI1: 0, GATA3: 3.2x}", "n_cells=50", cwd=folder.parent)
    written = run / "perturbations" / "SPI1=0_GATA3=3.2x_seed1000"
    for name in "fold_changes.tsv", "fold_changes.png", "tsne.png", "cells.h5ad":
        assert str(written / name) in out
        assert (written / name).stat().st_size > 0
    cells = anndata.read_h5ad(written / "cells.h5ad")
    before, after = (cells[cells.obs["condition"] == which].X.toarray() for which in ("before", "after"))
    assert before.shape == after.shape == (50, 30)
    may_change = {"SPI1", "GATA3"} | graph.descendants(["SPI1", "GATA3"])
    moved = {gene for gene, m in zip(cells.var_names, (before != after).any(axis=0), strict=True) if m}
    assert moved <= may_change
    assert {"SPI1", "GATA3"} < moved
    _, err = warm("perturb.py", f"run={run}", "do={NOBODY: 0}", cwd=folder.parent, code=2)
    assert err.count("\n") == 1


def values(run: Path) -> dict[tuple[str, str, str], str]:
    """Results by sample, source and metric."""
    with (run / "results.csv").open() as file:
        return {(row["sample"], row["source"], row["metric"]): row["value"] for row in csv.DictReader(file)}


def test_another_seed_gives_other_numbers(finished, counts, tmp_path):
    folder, *_ = finished
    few = ["evaluation.n_samples=1", "evaluation.metrics=[cosine_distance,mmd]"]
    train(counts, tmp_path / "other_seed", "seed=2000", *few)
    here, other = (run_folder(f, "h5ad_human_random_*") for f in (folder, tmp_path / "other_seed"))
    for name in "grn.tsv", "graph.json":
        assert (here / name).read_bytes() != (other / name).read_bytes(), name
    others = values(other)
    assert len(others) == 3 * 2 + 2  # sources x metrics, and two scores of the network
    assert all(values(here)[which] != value for which, value in others.items())


def test_killed_in_the_midst_of_its_stages_and_run_elsewhere_it_ends_with_the_same_numbers(finished, counts, tmp_path):
    """The numbers of a run with another place, other processes and other hashes of texts in these."""
    folder, *_ = finished
    outputs, waits = tmp_path / "outputs", random.Random(0)
    for stage in "data", "controller", "causal_gan", "scores":
        process = WarmProcess("train.py", *options(counts, outputs), cwd=tmp_path, environment=ENVIRONMENT)
        assert any(f"running {stage}" in line or f"resuming {stage}" in line for line in process.stderr)
        time.sleep(waits.uniform(0, 0.2))  # less than the next of these stages takes to begin
        assert process.poll() is None
        process.kill()
        process.communicate()
    train(counts, outputs, start=fresh)
    undisturbed = run_folder(folder, "h5ad_human_random_*")
    for name in "results.csv", "results.json", "grn.tsv", "graph.json":
        assert (run_folder(outputs) / name).read_bytes() == (undisturbed / name).read_bytes(), name


def test_infer_grn_stops_at_the_graph(counts, tmp_path):
    of_training = "model.", "evaluation.", "logger=", "trainer="
    shared = [option for option in options(counts, tmp_path / "out") if not option.startswith(of_training)]
    out, _ = cold("infer_grn.py", *shared, cwd=tmp_path)
    for line in "5 TFs among 30 genes", "edges                    50", "density                  0.4000":
        assert line in out
    (folder,) = (tmp_path / "out").glob("grn_*")
    of_others = {"config.yaml", "graph.graphml", "prediction.h5ad", "degrees.png", "predictive.tsv", "stages.json"}
    assert {path.name for path in folder.iterdir()} == {"grn.tsv", "graph.json", "tfs.json", *of_others}
    assert set(stages(tmp_path / "out")) == {"data", "tfs", "grn", "graph", "predictive_ruler", "predictive"}
