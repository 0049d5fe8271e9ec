import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from results_by_hand import make_results, one_run

from llm4grn.evaluation.report.run_report import installed_versions, verdict, write_report

ONE_RUN = one_run()


def test_report_holds_verdict_table_graph_links_command_and_versions(tmp_path):
    picture = tmp_path / "run 1" / "plots" / "tsne.png"
    graph = tmp_path / "store" / "graph.json"
    for file in (picture, graph):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x")
    path = write_report(
        tmp_path / "run 1" / "report" / "report.md",
        ONE_RUN,
        command="python train.py seed=1000",
        n_tfs=75,
        n_targets=925,
        n_edges=9250,
        pictures={"Joint t-SNE": picture},
        files={"graph": graph},
        n_cells=500,
        versions={"python": "3.11.7"},
    )
    text = path.read_text()
    assert verdict(ONE_RUN) in text
    for words in ("density 0.1333", "```\npython train.py seed=1000\n```", "python 3.11.7", "of 500 cells each"):
        assert words in text
    assert "| pbmc3k | Setting 1 | human | grnboost2 |" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) == 2
    for link in links:
        assert not Path(link).is_absolute()
        assert (path.parent / unquote(link)).resolve().is_file()


CONTROL = ((0.0002, 100.0, 0.005, 0.49), (0.0003, 102.0, 0.006, 0.51))
STAGE1 = ((0.0005, 120.0, 0.019, 0.79), (0.0007, 124.0, 0.021, 0.81))


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (CONTROL, "as close to held-out real cells as real training cells do"),
        (((0.0004, 110.0, 0.009, 0.63), (0.0006, 112.0, 0.011, 0.65)), "closer to held-out real cells than.*short of"),
        (STAGE1, "as close to held-out real cells as those of stage 1.*short of the control"),
        (((0.0009, 150.0, 0.05, 0.95), (0.0009, 150.0, 0.06, 0.96)), "farther from held-out real cells than"),
        (((0.0004, 110.0, 0.009, 0.95), (0.0006, 112.0, 0.011, 0.96)), "RF AUROC and MMD disagree"),
        (((0.0004, 110.0, 0.020, 0.63), (0.0006, 112.0, 0.020, 0.65)), "at least as close"),
        (((0.0004, 110.0, 0.020, 0.95), (0.0006, 112.0, 0.020, 0.96)), "no closer"),
        (((0.5, 1971.0, 0.9, 1.0), (0.5, 1971.0, 0.9, 1.0)), "The run collapsed"),
    ],
)
def test_the_verdict_says_what_the_numbers_say(run, words):
    results = [*make_results("control", CONTROL), *make_results("stage1", STAGE1), *make_results("run", run)]
    text = verdict(results)
    assert re.search(words, text)
    if "collapsed" not in words:
        assert "RF AUROC" in text
        assert "one seed" in text


def test_the_verdict_does_without_baselines_and_spread():
    alone = verdict(make_results(values=((0.0004, 110.0, 0.009, 0.63),)))
    assert "No stage 1 to compare with." in alone
    assert "gives no spread" in alone
    with_control = verdict([*make_results("control", CONTROL), *make_results()])
    assert "fall short of the control" in with_control


def test_a_report_is_about_one_run():
    with pytest.raises(ValueError, match="one run"):
        verdict([*make_results(), *make_results(inferer="random")])
    with pytest.raises(ValueError, match="one run"):
        verdict(make_results("control"))


def test_versions_are_those_installed():
    import numpy

    assert installed_versions()["numpy"] == numpy.__version__
