"""A language model as inferer: what it is asked, how its answers become ranked edges, and that it sees no cell."""

import json
from types import SimpleNamespace

import anndata
import pandas as pd
import pytest
from server import running_server

from llm4grn.errors import UserError
from llm4grn.inference.llm import LLMInferer, _complaint, importances
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.parsing.answers import Answer
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.recorded import RecordedChat
from llm4grn.pipeline import describe

CONTEXT = "Blood cells of a healthy donor."
PROMPTS = Prompts.load("cot_context")
TFS = ("GATA1", "JUN", "PAX5", "SPI1")
TARGETS = ("ACTB", "CD3D", "LYZ")
GENES = ("SPI1", "LYZ", "ACTB", "GATA1", "JUN", "CD3D", "PAX5")  # in no order
NAMES_ONLY = anndata.AnnData(var=pd.DataFrame(index=list(GENES)))


@pytest.fixture
def inferer(tmp_path):
    """Of k=2 TFs per target, and what the model says about each target or, with commas, about several.

    A list holds the answers to the samples. None is a reply without an answer.
    """

    def build(said, tfs=TFS, k=2, temperature=0.0, **options):
        lines = [
            {
                "messages": PROMPTS.regulators(targets.split(", "), sorted(tfs), min(k, len(tfs)), CONTEXT),
                "text": "I am not sure." if answer is None else f"I thought. <Answer> {answer} </Answer>",
                "sample": sample,
            }
            for targets, answers in said.items()
            for sample, answer in enumerate(answers if isinstance(answers, list) else [answers])
        ]
        file = tmp_path / "said.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        chat = RecordedChat(str(file))
        llm = LanguageModel("listed", "recorded", chat, PROMPTS, temperature=temperature, max_repairs=0)
        return LLMInferer(llm, CONTEXT, k, **options)

    return build


def edges(grn):
    return {
        target: dict(zip(of.TF, of.importance, strict=True)) for target, of in grn.edges.groupby("target", sort=False)
    }


SAID = {"ACTB": "[SPI1, JUN]", "CD3D": "[GATA1, PAX5]", "LYZ": "[SPI1, GATA1]"}


# ---------------------------------------------------------------- what is asked


def test_each_target_has_one_question_with_names_and_context_and_nothing_else(inferer):
    asker = inferer(SAID)
    questions = asker.questions(TARGETS, TFS, seed=1)
    assert [question.subject for question in questions] == list(TARGETS)
    for target, question in zip(TARGETS, questions, strict=True):
        assert question.messages == PROMPTS.regulators([target], TFS, 2, CONTEXT)
        assert question.sample == 0


def test_it_is_never_handed_expression(inferer):
    asker = inferer(SAID)
    assert LLMInferer.uses_expression is False
    assert NAMES_ONLY.X is None
    expected = edges(asker.infer(NAMES_ONLY, TFS, seed=1))
    assert set(expected) == set(TARGETS)
    # Here is nothing but names: a look at anything else would raise.
    assert edges(asker.infer(SimpleNamespace(var_names=GENES), TFS, seed=1)) == expected


def test_the_order_of_genes_and_tfs_changes_nothing(inferer):
    asker = inferer(SAID)
    shuffled = anndata.AnnData(var=pd.DataFrame(index=sorted(GENES)))
    one, other = asker.infer(NAMES_ONLY, TFS, seed=1), asker.infer(shuffled, TFS[::-1], seed=1)
    pd.testing.assert_frame_equal(one.edges, other.edges)


def test_k_is_asked_for_and_no_more_than_there_are(inferer):
    (question, *_) = inferer(SAID, k=3).questions(TARGETS, TFS, seed=1)
    assert "exactly 3 of the candidates" in question.messages[-1]["content"]
    (question, *_) = inferer(SAID, k=9).questions(TARGETS, TFS, seed=1)
    assert "exactly 4 of the candidates" in question.messages[-1]["content"]
    assert question.complaint(question.read("<Answer> [GATA1, JUN, PAX5, SPI1] </Answer>")) is None


def test_a_short_answer_is_asked_again_with_what_is_wrong(inferer):
    (question, *_) = inferer(SAID).questions(TARGETS, TFS, seed=1)

    def complaint(text):
        return question.complaint(question.read(text))

    assert complaint("<Answer> [SPI1, JUN] </Answer>") is None
    assert complaint("<Answer> [SPI1, JUN, PAX5] </Answer>") is None
    assert complaint("Who knows.") == "there was no answer in the required form"
    asked = "2 different names from the list were asked for, and 1 given"
    assert complaint("<Answer> [SPI1] </Answer>") == asked
    assert complaint("<Answer> [SPI1, spi1] </Answer>") == asked
    assert complaint("<Answer> [SPI1, FOXQ9] </Answer>") == f"{asked}, and FOXQ9 is not on the list"


def test_several_targets_share_a_question(inferer):
    said = {"ACTB, CD3D": '{"ACTB": ["SPI1", "JUN"], "CD3D": ["GATA1", "PAX5"]}', "LYZ": "[SPI1, GATA1]"}
    asker = inferer(said, targets_per_question=2)
    questions = asker.questions(TARGETS, TFS, seed=1)
    assert [question.subject for question in questions] == ["ACTB, CD3D", "LYZ"]
    assert questions[0].messages == PROMPTS.regulators(["ACTB", "CD3D"], TFS, 2, CONTEXT)
    complaint = questions[0].complaint(questions[0].read('<Answer> {"ACTB": ["SPI1", "JUN"], "CD3D": []} </Answer>'))
    assert complaint.startswith("for CD3D 2 different names")
    grn = asker.infer(NAMES_ONLY, TFS, seed=1)
    assert edges(grn) == edges(inferer(SAID).infer(NAMES_ONLY, TFS, seed=1))
    assert grn.provenance["audit"]["questions"] == 2
    assert grn.provenance["audit"]["targets"] == 3


# ---------------------------------------------------------------- what becomes of the answers


def test_one_answer_is_ranked_as_it_was_given(inferer):
    grn = inferer(SAID).infer(NAMES_ONLY, TFS, seed=1)
    # Named in all of one answer: 1, and for the rank 1 / 2 and 1 / 4.
    assert edges(grn) == {
        "ACTB": {"SPI1": 1.5, "JUN": 1.25},
        "CD3D": {"GATA1": 1.5, "PAX5": 1.25},
        "LYZ": {"SPI1": 1.5, "GATA1": 1.25},
    }
    assert grn.top(2, GENES, TFS).regulators["LYZ"] == ("SPI1", "GATA1")


def test_of_several_answers_the_share_counts_and_the_rank_breaks_ties(inferer):
    said = {
        "ACTB": ["[SPI1, JUN]", "[JUN, PAX5]", "[JUN, SPI1]"],
        "CD3D": ["[GATA1, PAX5]", "[GATA1, PAX5]", "[PAX5, JUN]"],
        "LYZ": ["[SPI1, GATA1]", None, "[SPI1, JUN]"],
    }
    asker = inferer(said, n_samples=3, temperature=0.7)
    ranked = edges(asker.infer(NAMES_ONLY, TFS, seed=1))
    # Share of 3 answers, plus a quarter of the mean of 1 for the first and 1 / 2 for the second of an answer.
    by_hand = {
        "ACTB": {"JUN": 1 + (0.5 + 1 + 1) / 12, "SPI1": 2 / 3 + (1 + 0.5) / 12, "PAX5": 1 / 3 + 0.5 / 12},
        "CD3D": {"PAX5": 1 + (0.5 + 0.5 + 1) / 12, "GATA1": 2 / 3 + 2 / 12, "JUN": 1 / 3 + 0.5 / 12},
        "LYZ": {"SPI1": 2 / 3 + 2 / 12, "GATA1": 1 / 3 + 0.5 / 12, "JUN": 1 / 3 + 0.5 / 12},
    }
    for target, expected in by_hand.items():
        assert ranked[target] == pytest.approx(expected)
        assert list(ranked[target]) == list(expected)
    questions = asker.questions(TARGETS, TFS, seed=1)
    assert [question.sample for question in questions] == [0, 1, 2] * 3
    seeds = [question.seed for question in questions]
    assert seeds == [question.seed for question in asker.questions(TARGETS, TFS, seed=1)]
    assert len({*seeds}) == 9
    assert not {*seeds} & {question.seed for question in asker.questions(TARGETS, TFS, seed=2)}


def test_the_first_sample_may_be_another_answer(inferer):
    said = {target: ["[SPI1, JUN]", "[GATA1, PAX5]", "[JUN, SPI1]"] for target in TARGETS}
    other = inferer(said, first_sample=1, temperature=None)
    assert edges(other.infer(NAMES_ONLY, TFS, seed=1))["LYZ"] == {"GATA1": 1.5, "PAX5": 1.25}
    both = inferer(said, first_sample=1, n_samples=2, temperature=0.7)
    questions = both.questions(TARGETS, TFS, seed=1)
    assert [question.sample for question in questions] == [1, 2] * 3
    from_0 = inferer(said, n_samples=3, temperature=0.7).questions(TARGETS, TFS, seed=1)
    assert [question.seed for question in questions] == [question.seed for question in from_0 if question.sample]


def test_the_first_sample_is_part_of_the_key_only_where_it_is_not_the_first(inferer):
    assert "first_sample" not in describe(inferer(SAID))
    assert describe(inferer(SAID, first_sample=1, temperature=None))["first_sample"] == 1


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_no_rank_outweighs_a_share(n):
    for n_first in range(n):
        both = [Answer(("GATA1", "PAX5", "SPI1", "JUN"), found=True)] * n_first
        answers = [*both, Answer(("PAX5", "SPI1", "JUN"), found=True), *[Answer(found=True)] * (n - n_first - 1)]
        scores = importances(answers)  # JUN is always the last, GATA1 always the first, and once less
        assert scores["JUN"] > scores.get("GATA1", 0.0)


def test_only_names_that_were_offered_become_edges(inferer):
    said = {"ACTB": "[FOXQ9, spi1, LYZ, JUN]", "CD3D": "[CD3D, GATA1, PAX5]", "LYZ": "[SPI1, SPI1, GATA1]"}
    grn = inferer(said).infer(NAMES_ONLY, TFS, seed=1)
    assert {target: list(scores) for target, scores in edges(grn).items()} == {
        "ACTB": ["SPI1", "JUN"],
        "CD3D": ["GATA1", "PAX5"],
        "LYZ": ["SPI1", "GATA1"],
    }
    audit = grn.provenance["audit"]
    assert (audit["invented"], audit["examples"]) == (1, ["FOXQ9"])
    assert (audit["refused"], audit["repeated"], audit["named"]) == (2, 1, 6)


def test_a_target_that_is_short_of_k_keeps_what_it_has(inferer):
    grn = inferer({**SAID, "CD3D": "[PAX5]"}).infer(NAMES_ONLY, TFS, seed=1)
    assert edges(grn)["CD3D"] == {"PAX5": 1.5}
    assert grn.provenance["audit"]["targets_short_of_k"] == 1
    assert grn.provenance["audit"]["unusable"] == 1
    graph = grn.top(2, GENES, TFS)
    assert graph.regulators["CD3D"] == ("PAX5",)
    assert graph.n_edges == 5


def test_more_than_k_are_kept_in_the_grn_and_cut_in_the_graph(inferer):
    grn = inferer({**SAID, "CD3D": "[PAX5, JUN, SPI1]"}).infer(NAMES_ONLY, TFS, seed=1)
    assert list(edges(grn)["CD3D"]) == ["PAX5", "JUN", "SPI1"]
    assert grn.top(2, GENES, TFS).regulators["CD3D"] == ("PAX5", "JUN")


def test_the_audit_is_in_the_provenance(inferer):
    grn = inferer(SAID).infer(NAMES_ONLY, TFS, seed=7)
    audit = grn.provenance["audit"]
    assert {name: grn.provenance[name] for name in ("method", "llm", "model", "prompts", "seed")} == {
        "method": "llm",
        "llm": "listed",
        "model": "recorded",
        "prompts": "cot_context",
        "seed": 7,
    }
    assert (audit["questions"], audit["targets"], audit["targets_short_of_k"]) == (3, 3, 0)
    assert audit["targets_drawn_at_random"] == 0
    assert json.loads(json.dumps(grn.provenance)) == grn.provenance


# ---------------------------------------------------------------- signs


def signed_inferer(url, cache, **options):
    chat = OpenAIChat(base_url=url, api_key_env=None)
    prompts = Prompts.load("cot_context_signs", options.pop("answer_format", "text"))
    llm = LanguageModel("live", "test-model", chat, prompts, cache=str(cache), max_repairs=0)
    return LLMInferer(llm, CONTEXT, options.pop("k", 3), **options)


@pytest.mark.slow
def test_a_live_model_is_asked_for_signs_in_text_and_in_json(tmp_path):
    with running_server(brain="signed", k=3) as server:
        grn = signed_inferer(server.url, tmp_path / "a.sqlite").infer(NAMES_ONLY, TFS, seed=1)
        in_json = signed_inferer(server.url, tmp_path / "b.sqlite", answer_format="json", k=2).infer(
            NAMES_ONLY, TFS, seed=1
        )
    for target in TARGETS:
        own = grn.edges[grn.edges.target == target].set_index("TF").sign.to_dict()
        assert own == {"GATA1": 1, "JUN": -1, "PAX5": 0}
    audit = grn.provenance["audit"]
    assert (audit["edges_signed"], audit["edges_repressing"]) == (6, 3)
    assert set(in_json.edges.sign) <= {-1, 0, 1}
    assert set(in_json.edges.sign) != {0}


def test_the_sign_is_that_of_most_answers(tmp_path):
    prompts = Prompts.load("cot_context_signs")
    said = ["[SPI1+, JUN-]", "[SPI1+, JUN+]", "[SPI1 (-), JUN?]"]
    lines = [
        {
            "messages": prompts.regulators([target], sorted(TFS), 2, CONTEXT),
            "text": f"<Answer> {answer} </Answer>",
            "sample": i,
        }
        for target in TARGETS
        for i, answer in enumerate(said)
    ]
    file = tmp_path / "said.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    llm = LanguageModel("listed", "recorded", RecordedChat(str(file)), prompts, temperature=0.7, max_repairs=0)
    grn = LLMInferer(llm, CONTEXT, 2, n_samples=3).infer(NAMES_ONLY, TFS, seed=1)
    assert set(zip(grn.edges.TF, grn.edges.sign, strict=True)) == {("SPI1", 1), ("JUN", 0)}
    assert grn.provenance["samples"] == 3


def test_signs_are_read_only_if_they_were_asked_for(inferer):
    grn = inferer({**SAID, "LYZ": "[SPI1 (represses it), GATA1+]"}).infer(NAMES_ONLY, TFS, seed=1)
    assert "sign" not in grn.edges
    assert "edges_signed" not in grn.provenance["audit"]


def test_an_answer_without_any_sign_is_asked_again():
    unsigned, signed = Answer(("SPI1", "JUN"), found=True), Answer(("SPI1", "JUN"), found=True, signs=(0, -1))
    assert "sign" in _complaint({"LYZ": unsigned}, 2, signs=True)
    assert _complaint({"LYZ": unsigned, "ACTB": signed}, 2, signs=True) is None
    assert _complaint({"LYZ": unsigned}, 2) is None


# ---------------------------------------------------------------- targets without any answer


@pytest.mark.parametrize("nothing", [None, "[]", "[FOXQ9]"])
def test_a_target_without_a_tf_is_an_error_that_names_it(inferer, nothing):
    with pytest.raises(UserError, match="listed names no TF for 1 of 3 targets, for instance CD3D; ") as caught:
        inferer({**SAID, "CD3D": nothing}).infer(NAMES_ONLY, TFS, seed=1)
    assert "inferer.unanswered=random" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_if_asked_for_its_tfs_are_drawn_at_random_always_the_same_and_counted(inferer):
    asker = inferer({**SAID, "ACTB": None, "CD3D": "[]"}, unanswered="random")
    grn = asker.infer(NAMES_ONLY, TFS, seed=1)
    ranked = edges(grn)
    assert ranked["LYZ"] == {"SPI1": 1.5, "GATA1": 1.25}
    for target in "ACTB", "CD3D":
        assert len(ranked[target]) == 2
        assert set(ranked[target]) <= set(TFS)
    assert grn.provenance["audit"]["targets_drawn_at_random"] == 2
    assert grn.provenance["audit"]["targets_short_of_k"] == 0
    assert edges(asker.infer(NAMES_ONLY, TFS, seed=1)) == ranked
    drawn = {tuple(edges(asker.infer(NAMES_ONLY, TFS, seed=seed))["ACTB"]) for seed in range(20)}
    assert len(drawn) > 5  # of 12 ordered pairs


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"k": 0}, r"graph\.k=0"),
        ({"k": 2.0}, r"graph\.k=2\.0"),
        ({"targets_per_question": 0}, r"inferer\.targets_per_question=0"),
        ({"n_samples": True}, r"inferer\.n_samples=True"),
        ({"first_sample": -1}, r"inferer\.first_sample=-1"),
        ({"first_sample": 1}, r"inferer\.first_sample=1 and llm\.temperature=0: all samples would be the same"),
        ({"unanswered": "ignore"}, r"inferer\.unanswered=ignore: choose error or random"),
        ({"n_samples": 2}, r"inferer\.n_samples=2 and llm\.temperature=0: all samples would be the same"),
    ],
)
def test_impossible_values_are_refused(inferer, options, field):
    asker = inferer(SAID)
    with pytest.raises(UserError, match=f"^{field}"):
        LLMInferer(asker.llm, CONTEXT, **options)


def test_a_tf_that_is_no_gene_and_a_set_without_targets_are_refused(inferer):
    with pytest.raises(UserError, match="FOXQ9"):
        inferer(SAID).infer(NAMES_ONLY, [*TFS, "FOXQ9"], seed=1)
    with pytest.raises(UserError, match="0 targets"):
        inferer(SAID).infer(NAMES_ONLY, GENES, seed=1)
