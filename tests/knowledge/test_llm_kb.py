"""A language model as knowledge base: what it is shown, how votes are counted, what is refused."""

import json
import random
import string
from collections import Counter
from itertools import pairwise

import pytest
from server import running_server

from llm4grn.errors import UserError
from llm4grn.knowledge.llm import LLMKnowledgeBase
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.recorded import RecordedChat

CONTEXT = "Blood cells of a healthy donor."
PROMPTS = Prompts.load("cot_context")
#: Nobody is there: for what needs no answer.
SILENT = LanguageModel("silent", "test-model", OpenAIChat("http://127.0.0.1:9/v1", api_key_env=None))


def names(n):
    return [f"GENE{i:04}" for i in range(n)]


@pytest.fixture
def kb(tmp_path):
    """Of windows of 4 genes with 2 shared, and what the model says to each of them."""

    def text(answer):
        return "I am not sure." if answer is None else f"I thought about it. <Answer> [{answer}] </Answer>"

    def build(said, **options):
        file = tmp_path / "said.jsonl"
        lines = [
            {
                "messages": PROMPTS.transcription_factors(window.split(), CONTEXT),
                "text": f"I thought about it. <Answer> [{answer}] </Answer>"
                if answer is not None
                else "I am not sure.",
                "prompt_tokens": 100,
                "completion_tokens": 10,
                "cost": 0.25,
                "latency": 0.5,
            }
            for window, answer in said.items()
        ]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        llm = LanguageModel("listed", "recorded", RecordedChat(str(file)), PROMPTS, max_repairs=0)
        return LLMKnowledgeBase(llm, **{"window": 4, "overlap": 2, **options})

    return build


# ---------------------------------------------------------------- windows


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 19, 20, 21, 29, 30, 31, 95, 100, 1000])
def test_windows_of_20_share_10_and_cover_every_gene(n):
    genes = names(n)
    windows = LLMKnowledgeBase(SILENT).windows(random.Random(n).sample(genes, n))
    asked = Counter(gene for window in windows for gene in window)
    assert sorted(asked) == genes
    for one, other in pairwise(windows):
        assert one[-10:] == other[:10]
    assert all(len(window) == 20 for window in windows[:-1])
    assert 0 < len(windows[-1]) <= 20
    assert all(asked[gene] == 2 for gene in genes[10 : 10 * len(windows)])
    assert len(windows) == max(1, -(-(n - 10) // 10))


@pytest.mark.parametrize(("window", "overlap"), [(1, 0), (5, 0), (7, 3), (3, 2), (50, 49)])
@pytest.mark.parametrize("n", [1, 6, 7, 23, 50])
def test_any_window_and_overlap_cover_every_gene_without_a_window_too_many(window, overlap, n):
    windows = LLMKnowledgeBase(SILENT, window=window, overlap=overlap).windows(names(n))
    assert {gene for shown in windows for gene in shown} == set(names(n))
    for one, other in pairwise(windows):
        assert set(other) - set(one)
        assert set(one) - set(other)
        assert len(set(one) & set(other)) == overlap


def test_each_question_shows_its_window_and_the_context_and_nothing_else():
    kb = LLMKnowledgeBase(SILENT)
    genes = names(35)
    questions = kb.questions(genes, CONTEXT, seed=3)
    assert [question.subject for question in questions] == [f"{w[0]} to {w[-1]}" for w in kb.windows(genes)]
    for window, question in zip(kb.windows(genes), questions, strict=True):
        assert question.messages == SILENT.prompts.transcription_factors(window, CONTEXT)
        shown = set("".join(message["content"] for message in question.messages).replace(",", " ").split())
        assert shown & set(genes) == set(window)


# ---------------------------------------------------------------- votes


SAID = {"A B C D": "B, D", "C D E F": "D, F, PU.1", "E F G H": "f, A", "G H I": "I"}
GENES = list("ABCDEFGHI")


def test_a_gene_that_is_named_in_one_window_is_a_tf(kb):
    tfs = kb(SAID).transcription_factors(GENES, CONTEXT)
    assert tfs.votes == {"B": 1, "D": 2, "F": 2, "I": 1}
    assert tfs.names == ("B", "D", "F", "I")


def test_with_two_votes_needed_a_gene_that_is_asked_about_once_needs_one(kb):
    # A, B and I are in one window only, all others in two.
    said = {**SAID, "G H I": "G, I"}
    tfs = kb(said, min_votes=2).transcription_factors(GENES, CONTEXT)
    assert tfs.votes == {"B": 1, "D": 2, "F": 2, "G": 1, "I": 1}
    assert tfs.names == ("B", "D", "F", "I")


def test_the_order_of_the_genes_changes_nothing(kb):
    base = kb(SAID)
    expected = base.transcription_factors(GENES, CONTEXT)
    for seed in range(5):
        assert base.transcription_factors(random.Random(seed).sample(GENES, len(GENES)), CONTEXT) == expected


def test_a_window_without_an_answer_is_counted_and_names_nothing(kb):
    tfs = kb({**SAID, "G H I": None}).transcription_factors(GENES, CONTEXT)
    assert tfs.names == ("B", "D", "F")
    assert tfs.provenance["audit"]["unusable"] == 1


def test_the_provenance_says_who_was_asked_and_what_came_of_it(kb):
    base = kb(SAID)
    tfs = base.transcription_factors(GENES, CONTEXT)
    assert tfs.provenance == {
        "method": "llm",
        "llm": "listed",
        "model": "recorded",
        "prompts": "cot_context",
        "window": 4,
        "overlap": 2,
        "min_votes": 1,
        "audit": {
            "questions": 4,
            "requests": 4,
            "repaired": 0,
            "unusable": 0,
            "named": 6,
            "refused": 1,  # A, which is a gene, but not of that window
            "invented": 1,
            "repeated": 0,
            "truncated": 0,
            "prompt_tokens": 400,
            "completion_tokens": 40,
            "cost": 1.0,
            "latency": 0.5,
            "examples": ["PU.1"],
        },
    }
    assert json.loads(json.dumps(tfs.provenance)) == tfs.provenance


# ---------------------------------------------------------------- what is asked again, what is refused


def test_an_empty_list_is_an_answer_and_a_list_of_strangers_is_asked_again():
    question = LLMKnowledgeBase(SILENT).questions(["GATA1", "ACTB"], CONTEXT, 0)[0]

    def complaint(text):
        return question.complaint(question.read(text))

    assert complaint("<Answer> [] </Answer>") is None
    assert complaint("<Answer> [gata1, FOXQ9] </Answer>") is None
    assert complaint("I do not know.") == "there was no answer in the required form"
    assert "for instance FOXQ9" in complaint("<Answer> [FOXQ9, FOXQ8] </Answer>")


@pytest.mark.slow
def test_a_real_model_that_is_silent_at_times_is_asked_until_every_window_is_answered(tmp_path):
    genes = [f"{a}{b}1" for a in string.ascii_uppercase for b in "XYZ"]  # 78 genes, 7 windows
    with running_server(faults="empty,null@0.4", k=3) as server:
        chat = OpenAIChat(server.url, api_key_env=None)
        llm = LanguageModel("tester", "test-model", chat, max_repairs=5, cache=str(tmp_path / "answers.sqlite"))
        tfs = LLMKnowledgeBase(llm).transcription_factors(genes, CONTEXT)
        did = server.stats()["did"]
    audit = tfs.provenance["audit"]
    assert audit["questions"] == did["answer"] == 7
    assert audit["requests"] == sum(did.values()) > 7
    assert 0 < audit["repaired"] < 7
    assert audit["unusable"] == 0
    assert sum(tfs.votes.values()) == audit["named"] == 21
    assert set(tfs.names) <= set(genes)


def test_no_tf_at_all_is_refused_and_says_how_many_answers_were_of_no_use(kb):
    with pytest.raises(UserError, match=r"listed names no TF among the 9 genes \(1 of 4 answers"):
        kb({**dict.fromkeys(SAID, ""), "A B C D": None}).transcription_factors(GENES, CONTEXT)


def test_too_few_votes_for_any_gene_are_refused(kb):
    with pytest.raises(UserError, match=r"fewer kb\.min_votes"):
        kb({**dict.fromkeys(SAID, ""), "A B C D": "D"}, min_votes=2).transcription_factors(GENES, CONTEXT)


def test_all_genes_as_tfs_are_refused(kb):
    with pytest.raises(UserError, match="listed calls all 9 genes TFs, so no target is left"):
        kb({window: window.replace(" ", ", ") for window in SAID}).transcription_factors(GENES, CONTEXT)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window", 0),
        ("window", 2.5),
        ("window", True),
        ("overlap", -1),
        ("overlap", 20),
        ("overlap", 30),
        ("min_votes", 0),
        ("min_votes", "2"),
    ],
)
def test_impossible_numbers_are_refused(field, value):
    with pytest.raises(UserError, match=rf"^kb\.{field}={value}: "):
        LLMKnowledgeBase(SILENT, **{field: value})
