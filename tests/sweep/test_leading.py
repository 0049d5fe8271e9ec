"""How a sweep is begun: with which words, by how many processes, and by one leader at a time."""

import re

import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from sweeping import end, inferring, ran, start
from tiny import CONF, write_counts

from llm4grn.cli import plan
from llm4grn.errors import UserError
from llm4grn.sweep.resources import cores

pytestmark = pytest.mark.slow


def refused(cwd, *words: str) -> str:
    _, err = end(start("infer_grn.py", *words, cwd=cwd), code=2)
    assert not list(cwd.iterdir())
    (line,) = err.splitlines()
    return line


def test_a_grid_without_multirun_is_refused(tmp_path):
    assert refused(tmp_path, "+multirun_sweeps=consistency").endswith("add -m")


def test_one_grid_at_a_time(tmp_path):
    assert "one grid at a time" in refused(tmp_path, "-m", "+multirun_sweeps=consistency,demo")


def test_an_unknown_grid_is_refused_with_those_there_are(tmp_path):
    assert "choose one of consistency, demo" in refused(tmp_path, "-m", "+multirun_sweeps=table9")


def test_a_wrong_word_about_the_plan_is_refused_before_it(tmp_path):
    assert "plan_only=perhaps: expected true or false" in refused(tmp_path, "-m", "plan_only=perhaps")


def test_the_plus_may_be_left_out(tmp_path):
    words = "dataset=pbmc3k", "inferer=random,correlation", "plan_only=true"
    out, _ = end(start("infer_grn.py", "-m", "multirun_sweeps=consistency", *words, cwd=tmp_path))
    assert out.startswith("consistency: 10 jobs\n")


def test_a_plan_with_jobs_that_cannot_be_built_tells_it_by_its_status(tmp_path):
    out, err = end(start("infer_grn.py", "-m", "graph.k=0,3", "plan_only=true", cwd=tmp_path), code=2)
    assert re.search(r"^0 +(\? +)+cannot be built$", out, re.M)
    assert re.search(r"^1 +pbmc3k ", out, re.M)
    assert "error: graph.k=0" in err


@pytest.mark.parametrize(("asked", "expected"), [(8, 3), (2, 2), (-1, min(3, cores()))])
def test_joblib_starts_no_more_processes_than_there_are_jobs(asked, expected):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={asked}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", words, return_hydra_config=True)
        plan.limit_workers(config, 3)
        in_worker = GlobalHydra.instance().config_loader().load_sweep_config(config, ["seed=1"])
    assert config.hydra.launcher.n_jobs == in_worker.hydra.launcher.n_jobs == expected


def test_no_process_at_all_is_refused():
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", words, return_hydra_config=True)
    with pytest.raises(UserError, match="n_jobs=0"):
        plan.limit_workers(config, 3)


def test_two_sweeps_in_one_folder_come_one_after_the_other(tmp_path):
    """Else each would take the other's records for its own."""
    counts, folder = write_counts(tmp_path / "counts.h5ad"), tmp_path / "run" / "outputs"
    (folder / "sweeps" / "grid").mkdir(parents=True)
    with FileLock(folder / "sweeps" / "grid" / ".lock") as other:
        sweep = inferring(counts, folder, "seed=1,2", f"hydra.sweep.dir={folder}/sweeps/grid")
        assert next(line for line in sweep.stderr if "waiting for another sweep in" in line)
        assert not list(folder.glob("grn_*"))
        other.release()
        out, err = end(sweep)
    assert sum(ran(err).values()) == 12
    assert all(f"job {number}: running grn" in err for number in (0, 1))
    assert "sweep: all 2 jobs done" in out


def test_the_same_command_goes_on_with_the_same_sweep_and_another_one_does_not(tmp_path):
    counts, folder = write_counts(tmp_path / "counts.h5ad"), tmp_path / "run" / "outputs"
    for words in ("seed=1,2", "inferer=random,correlation"), ("inferer=random,correlation", "seed=1,2"), ("seed=1,2",):
        end(inferring(counts, folder, *words))
    names = sorted(path.name.rpartition("_")[0] for path in (folder / "sweeps").iterdir())
    assert names == ["inferer_seed", "seed"]
