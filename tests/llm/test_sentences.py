"""What is said about one target, out of replies of many forms; the list at the end is never taken for a reason."""

import pytest
from test_shipped import GENES, build, tf_names

from llm4grn.llm.sentences import statement

SEVERAL = ("CST3", "LYZ", "HLA-DRA")
ANSWER = '\n<Answer> {"CST3": ["SPI1"], "LYZ": ["CEBPB"], "HLA-DRA": ["RFX5"]} </Answer>'


@pytest.mark.parametrize(
    "reasoning",
    [
        "CST3: PU.1 (SPI1) drives it.\nLYZ: CEBPB.\nHLA-DRA: RFX5 and CIITA.",
        "Let me think.\n- **CST3**: PU.1 (SPI1) drives it.\n- **LYZ**: CEBPB.",
        "1. CST3 (cystatin C) - PU.1 (SPI1)\n   drives it.\n2. LYZ - CEBPB",
        "### CST3\nPU.1 (SPI1) drives it.\n\n### LYZ\nCEBPB.",
        "Target: CST3\nPU.1 (SPI1) drives it.\nTarget: LYZ\nCEBPB.",
        "<think>LYZ: CEBPB.\nCST3: PU.1 (SPI1) drives it.</think>",
    ],
)
def test_a_line_or_paragraph_that_is_headed_by_the_target(reasoning):
    assert statement(reasoning + ANSWER, "CST3", SEVERAL) == "PU.1 (SPI1) drives it."


def test_sentences_that_name_the_target_where_no_line_does():
    text = "LYZ is a monocyte gene. CST3 follows SPI1. CST3 is high in monocytes. HLA-DRA-like genes differ." + ANSWER
    assert statement(text, "CST3", SEVERAL) == "CST3 follows SPI1. CST3 is high in monocytes."
    assert statement(text, "CST3", SEVERAL, tf="SPI1") == "CST3 follows SPI1."
    assert statement(text, "CST3", SEVERAL, tf="MYC") == "CST3 follows SPI1. CST3 is high in monocytes."
    assert statement(text, "HLA-DRA", SEVERAL) is None  # another name that begins with it
    assert statement("I am not sure." + ANSWER, "CST3", SEVERAL) is None


def test_a_reply_about_one_target_need_not_repeat_its_name():
    text = "It is a monocyte gene. SPI1 binds its promoter. CEBPB too.\n<Answer> [SPI1, CEBPB] </Answer>"
    assert statement(text, "LYZ", ["LYZ"], tf="SPI1") == "SPI1 binds its promoter."
    assert statement(text, "LYZ", ["LYZ"], tf="MYC") is None


def test_the_reasoning_of_a_json_answer():
    text = '{"reasoning": "CST3: by SPI1.\\nLYZ: by CEBPB.", "answer": {"CST3": ["SPI1"], "LYZ": ["CEBPB"]}}'
    assert statement(text, "LYZ", SEVERAL) == "by CEBPB."
    assert statement('{"answer": {"CST3": ["SPI1"]}}', "CST3", SEVERAL) is None


def test_a_long_statement_is_cut_after_a_word():
    said = statement("LYZ: " + "word " * 500, "LYZ", SEVERAL)
    assert said.endswith("word ...")
    assert len(said) < 620


@pytest.mark.slow
def test_every_target_of_the_shipped_answers_has_its_sentence():
    setting = build()
    tfs = sorted(tf_names("human"))
    questions = setting.inferer.questions(sorted(set(GENES) - set(tfs)), tfs, seed=1000)
    chat = setting.inferer.llm.chat
    found = {}
    for question in questions:
        text = chat.answer(setting.inferer.llm.request(question)).text
        targets = question.subject.split(", ")
        found |= {target: statement(text, target, targets) for target in targets}
    assert len(found) == 800
    assert [target for target, said in found.items() if not said] == []
    assert len(set(found.values())) > 700
    assert all("<" not in said and '["' not in said for said in found.values())
    assert (
        found["AIF1"] == "monocyte/DC IBA1; PU.1 and IRF8 ETS-IRF sites, CEBPB/CEBPD, MAFB, KLF4, IFN via STAT1/IRF1."
    )
