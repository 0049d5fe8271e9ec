"""``inferer=consensus`` in the whole line: members are stages of their own, configured by their own YAML."""

import pytest
from sweeping import end, inferring, ran, stages
from tiny import TFS, pipeline_of, write_counts

from llm4grn.cli.errors import one_line
from llm4grn.errors import UserError

CONSENSUS = ["inferer=consensus", "inferer.members=[grnboost2,correlation]"]


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("data") / "counts.h5ad")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.mark.slow
def test_a_members_stage_is_the_stage_of_that_inferer_alone(counts, folder):
    consensus = pipeline_of(counts, folder, *CONSENSUS)
    alone = {name: pipeline_of(counts, folder, f"inferer={name}") for name in ("grnboost2", "correlation")}
    assert {name: member.grn.key for name, member in consensus.members.items()} == {
        name: pipeline.grn.key for name, pipeline in alone.items()
    }
    assert [stage.name for stage in consensus.stages] == ["data", "tfs", "grn", "grn", "grn", "graph"]
    built = alone["correlation"].inferred_grn.edges
    inferred = consensus.inferred_grn.edges
    stages = consensus.store.root / "grn"
    assert len(list(stages.iterdir())) == 3  # nothing twice
    best = inferred.loc[inferred["rank_correlation"] == 1].set_index("target")["TF"]
    assert best.to_dict() == built.drop_duplicates("target").set_index("target")["TF"].to_dict()
    assert set(consensus.causal_graph.tf_names) == set(TFS)


@pytest.mark.slow
def test_what_decides_a_consensus_changes_its_key(counts, folder):
    plain = pipeline_of(counts, folder, *CONSENSUS).grn.key
    for more in (
        ["inferer.constant=60"],
        ["inferer.weights={correlation: 2}"],
        ["inferer.options={correlation: {kind: spearman}}"],
        ["inferer.members=[grnboost2,correlation,random]"],
        ["inference_seed=7"],
    ):
        assert pipeline_of(counts, folder, *CONSENSUS, *more).grn.key != plain, more
    assert pipeline_of(counts, folder, CONSENSUS[0], "inferer.members=[correlation,grnboost2]").grn.key == plain
    assert pipeline_of(counts, folder, *CONSENSUS, "inferer.options={grnboost2: {n_jobs: 3}}").grn.key == plain


def test_tfs_that_regulate_tfs(counts, folder):
    layered = pipeline_of(counts, folder, *CONSENSUS, "graph.tf_k=2")
    assert 0 < len(layered.causal_graph.tf_names) < len(TFS)


def test_no_list_of_tfs(counts, folder):
    pipeline = pipeline_of(counts, folder, *CONSENSUS, "kb=none", "kb.n_tfs=6")
    assert len(pipeline.causal_graph.tf_names) == 6
    assert [stage.name for stage in pipeline.stages] == ["data", "grn", "grn", "grn", "tfs", "graph"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["inferer=consensus"], "inferer=consensus asks a language model; add llm="),
        ([CONSENSUS[0], "inferer.members=[grnboost2,consensus]"], "consensus is no inferer that can be a member"),
        ([CONSENSUS[0], "inferer.members=[grnboost2,grnboost3]"], "grnboost3 is no inferer that can be a member"),
        ([CONSENSUS[0], "inferer.members=[genie3,genie3]"], "expected a list of different inferers"),
        ([CONSENSUS[0], "inferer.members=genie3"], "expected a list of different inferers"),
        ([CONSENSUS[0], "inferer.members=[genie3,file]"], "inferer.options.file.path is not set"),
        ([*CONSENSUS, "inferer.options={genie3: {n_trees: 5}}"], "inferer.options.genie3: no such member"),
        (
            [*CONSENSUS, "inferer.options={grnboost2: {n_tree: 5}}"],
            "inferer.options.grnboost2.n_tree: there is no such",
        ),
    ],
)
def test_a_mistake_is_one_line(counts, folder, overrides, told):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (some come through Hydra)
        pipeline_of(counts, folder, *overrides)
    assert told in one_line(caught.value)
    assert "resolving" not in one_line(caught.value)


def test_k_above_the_tfs_is_said_before_any_member_runs(counts, folder):
    pipeline = pipeline_of(counts, folder, *CONSENSUS, "graph.k=6", "inferer.constant=11")
    with pytest.raises(UserError, match=r"graph.k=6: the knowledge base names only 5 TFs"):
        _ = pipeline.causal_graph


@pytest.mark.slow
def test_a_sweep_in_two_processes_plans_the_members_and_infers_nothing_twice(counts, tmp_path):
    grid = [*CONSENSUS, "inferer.constant=10,60", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    out, err = end(inferring(counts, tmp_path / "run", *grid))
    planned = next(line.split() for line in out.splitlines() if line.startswith("grn "))
    assert planned[1:5] == ["6", "4", "0", "4"]  # wanted, different, in the store, to run
    assert {stage.split()[0]: n for stage, n in ran(err).items()}  # the workers' lines are seen
    assert max(ran(err).values()) == 1
    assert stages(tmp_path / "run")["grn"] == 4
