"""``inferer=shuffled`` and ``inferer=popular`` in the whole line: what they are of is a stage of its own."""

import pytest
from tiny import pipeline_of, write_counts

from llm4grn.cli.errors import one_line

OF = {
    "correlation": ["inferer.of=correlation"],
    "consensus": ["inferer.of=consensus", "inferer.options={consensus: {members: [random, correlation]}}"],
}
ALONE = {
    "correlation": ["inferer=correlation"],
    "consensus": ["inferer=consensus", "inferer.members=[random,correlation]"],
}


@pytest.fixture(scope="module")
def counts(tmp_path_factory):
    return write_counts(tmp_path_factory.mktemp("data") / "counts.h5ad")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("control", ["shuffled", "popular"])
def test_the_network_that_it_is_of_is_the_stage_of_that_inferer_alone(counts, folder, control, of):
    alone = pipeline_of(counts, folder, *ALONE[of])
    pipeline = pipeline_of(counts, folder, f"inferer={control}", *OF[of])
    assert {stage.key for stage in alone.stages if stage.name == "grn"} < {stage.key for stage in pipeline.stages}
    assert pipeline.members[of].grn.key == alone.grn.key
    edges = pipeline.inferred_grn.edges  # builds everything that it reads
    assert pipeline.store.has(alone.grn)
    before, after = alone.inferred_grn.regulators(2), pipeline.inferred_grn.regulators(2)
    assert before.keys() == after.keys()
    assert before != after
    assert set(edges["TF"]) <= set(alone.inferred_grn.edges["TF"])


def test_stages_of_a_control_of_a_consensus_are_all_planned(counts, folder):
    pipeline = pipeline_of(counts, folder, "inferer=shuffled", *OF["consensus"])
    names = [stage.name for stage in pipeline.stages]
    assert names == ["data", "tfs", "grn", "grn", "grn", "grn", "graph"]
    keys = [stage.key for stage in pipeline.stages]
    assert len(set(keys)) == len(keys)


def test_what_decides_a_control_changes_its_key(counts, folder):
    plain = pipeline_of(counts, folder, "inferer=shuffled", *OF["correlation"])
    others = [
        ["inferer=popular", *OF["correlation"]],
        ["inferer=shuffled", *OF["consensus"]],
        ["inferer=shuffled", *OF["correlation"], "inferer.options={correlation: {kind: spearman}}"],
        ["inferer=shuffled", *OF["correlation"], "inference_seed=7"],
    ]
    keys = [plain.grn.key, *(pipeline_of(counts, folder, *more).grn.key for more in others)]
    assert len(set(keys)) == len(keys)


def test_labels_tell_what_it_is_of(counts, folder):
    one, other = (pipeline_of(counts, folder, "inferer=shuffled", *OF[of]).setting for of in OF)
    assert (one.labels["inferer"], other.labels["inferer"]) == ("shuffled correlation", "shuffled consensus")
    assert one.name.startswith("h5ad_human_shuffled-correlation_top2")  # a folder without a space
    asking = ["inferer=shuffled", "llm=recorded", "llm.path=tests/llm/one_answer.jsonl"]
    assert pipeline_of(counts, folder, *asking).setting.labels["llm"] == "recorded"
    assert one.labels["llm"] == ""
    consensus = pipeline_of(counts, folder, *asking, "inferer.of=consensus").setting  # of grnboost2 and llm
    assert consensus.labels["llm"] == "recorded"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ([], "inferer=shuffled llm asks a language model; add llm="),
        (["inferer.of=consensus"], "inferer=shuffled consensus asks a language model; add llm="),
        (["inferer.of=shuffled"], "inferer.of=shuffled: expected another inferer, one of consensus, correlation"),
        (["inferer.of=grnboost3"], "inferer.of=grnboost3: expected another inferer"),
        (["inferer.of=file"], "inferer.options.file.path is not set"),
        (["inferer.of=pidc", "inferer.options={genie3: {n_trees: 5}}"], "inferer.options.genie3: inferer.of=pidc is"),
        (["inferer.of=genie3", "inferer.options={genie3: {n_tree: 5}}"], "inferer.options.genie3.n_tree: there is no"),
    ],
)
def test_a_mistake_is_one_line(counts, folder, overrides, told):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (some come through Hydra)
        pipeline_of(counts, folder, "inferer=shuffled", *overrides)
    assert told in one_line(caught.value)
    assert "resolving" not in one_line(caught.value)


def test_controls_are_no_members_of_a_consensus(counts, folder):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        pipeline_of(counts, folder, "inferer=consensus", "inferer.members=[grnboost2,shuffled]")
    assert "shuffled is no inferer that can be a member" in one_line(caught.value)
