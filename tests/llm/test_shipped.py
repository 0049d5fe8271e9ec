"""The shipped recording fits the questions of today, each of its answers is usable, and anything else is refused."""

import hashlib
import json
import logging
from functools import cache
from pathlib import Path

import anndata
import pandas as pd
import pytest
from tiny import config

import llm4grn
from llm4grn.cli.config import build_setting
from llm4grn.errors import UserError
from llm4grn.grn.causal_graph import overlap
from llm4grn.llm import shipped
from llm4grn.llm.answers_cache.jsonl import read_jsonl
from llm4grn.llm.audit import audit_table, audit_text
from llm4grn.llm.messages import Request
from llm4grn.llm.shipped import ShippedChat
from llm4grn.setting import Setting

FOLDER = Path(shipped.__file__).parent
FILE = FOLDER / "claude_pbmc3k.jsonl.gz"
GENES = (Path(__file__).parents[1] / "data" / "pbmc3k_genes.txt").read_text().split()
NAMES_ONLY = anndata.AnnData(var=pd.DataFrame(index=GENES))
LINE = ("llm=shipped", "inferer=llm")


def build(*overrides: str) -> Setting:
    return build_setting(config(*LINE, *overrides, name="infer_grn"))


@cache
def tf_names(kb: str) -> tuple[str, ...]:
    setting = build(f"kb={kb}")
    return setting.kb.transcription_factors(GENES, setting.dataset.context, setting.seed).names


@cache
def network(kb: str, *overrides: str):
    return build(f"kb={kb}", *overrides).inferer.infer(NAMES_ONLY, tf_names(kb), seed=1000)


def graph(*overrides: str):
    return network("human", *overrides).top(10, GENES, tf_names("human"))


# ---------------------------------------------------------------- it fits

UNFIT = """The shipped recording no longer fits: {n} questions of today are not in it, {left} of its own are not asked.
A template (llm4grn/llm/templates/cot_context.yaml), the context in conf/dataset/pbmc3k.yaml, the default genes, a list
of TFs, or the windows and groups of questions were changed. Undo that; or have a model answer the new questions, export
the answers with `python -m llm4grn.llm export`, and replace llm4grn/llm/shipped/claude_pbmc3k.jsonl.gz, the figures in
its README.md, and those in this file. One of the questions:

{example}"""


def _identity(messages, sample: int) -> str:
    return json.dumps([[dict(message) for message in messages], sample], sort_keys=True)


def _check(questions, recorded: dict[str, str]) -> set[str]:
    """Which of the recorded questions these are; fails if one of them is not recorded."""
    asked = {_identity(question.messages, question.sample): question.messages[-1]["content"] for question in questions}
    new = [text for key, text in asked.items() if key not in recorded]
    assert not new, UNFIT.format(n=len(new), left="some", example=new[0])
    return set(asked)


def test_it_holds_the_answer_to_each_question_of_today_and_no_other():
    recorded = {
        _identity(request.messages, request.sample): request.messages[-1]["content"] for request, *_ in read_jsonl(FILE)
    }
    assert len(recorded) == len(list(read_jsonl(FILE))) == 221
    setting = build("kb=llm")
    asked = _check(setting.kb.questions(GENES, setting.dataset.context, setting.seed), recorded)
    for kb, n_samples in ("human", 2), ("llm", 1):  # the model's own list follows from its answers
        tfs = sorted(tf_names(kb))
        inferer = build(f"inferer.n_samples={n_samples}").inferer
        asked |= _check(inferer.questions(sorted(set(GENES) - set(tfs)), tfs, seed=1000), recorded)
    left = recorded.keys() - asked
    assert not left, UNFIT.format(n=0, left=len(left), example=recorded[next(iter(left))])


def test_the_genes_of_the_questions_are_the_default_genes():
    assert (len(GENES), GENES) == (1000, sorted(GENES))


# ---------------------------------------------------------------- what it says


@pytest.mark.slow
def test_every_answer_is_usable_and_complete():
    audits = [
        network(kb, *more).provenance["audit"]
        for kb, *more in (["human"], ["human", "inferer.first_sample=1"], ["llm"])
    ]
    setting = build("kb=llm")
    audits.append(setting.kb.transcription_factors(GENES, setting.dataset.context).provenance["audit"])
    assert [audit["questions"] for audit in audits] == [40, 40, 42, 99]
    for audit in audits:
        assert audit["requests"] == audit["questions"]  # none was repaired
        for figure in "unusable", "invented", "refused", "repeated", "targets_short_of_k", "targets_drawn_at_random":
            assert audit.get(figure, 0) == 0, figure
    assert [audit.get("targets") for audit in audits] == [800, 800, 826, None]


def test_it_names_174_tfs_of_which_170_are_curated():
    human, own = set(tf_names("human")), set(tf_names("llm"))
    assert (len(human), len(own), len(human & own)) == (200, 174, 170)


def test_it_agrees_with_itself_as_the_readme_says():
    first, second = graph(), graph("inferer.first_sample=1")
    assert overlap(first, second) == pytest.approx(0.594, abs=5e-4)
    named = [tf for tfs in first.regulators.values() for tf in tfs]
    assert (named.count("ETS1"), len(set(tf_names("human")) - set(named))) == (630, 67)
    readme = (FOLDER / "README.md").read_text()
    assert "Jaccard index of 0.594" in readme
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() in readme


def test_both_samples_make_one_network():
    shares = network("human", "inferer.n_samples=2").edges
    assert shares.importance.between(0.5, 1.5).all()
    assert len(shares) > 8000


# ---------------------------------------------------------------- how it is used


def test_it_is_called_by_its_model_and_asked_with_its_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the file is found from anywhere
    setting = build("kb=llm")
    assert (setting.kb_name, setting.llm, setting.inferer.targets_per_question) == ("claude", "claude", 20)
    assert setting.inferer.llm.cache is None
    assert build("inferer.targets_per_question=7").inferer.targets_per_question == 7
    assert build_setting(config("llm=gpt4", "inferer=llm", name="infer_grn")).inferer.targets_per_question == 1


@pytest.mark.parametrize("kb", ["gpt4", "llama"])
def test_it_is_not_taken_for_the_answers_of_another_model(kb):
    with pytest.raises(UserError, match=f"kb={kb} and llm=.*the knowledge base would not be {kb}'s; use kb=llm"):
        build(f"kb={kb}")


@pytest.mark.parametrize(
    ("overrides", "difference"),
    [
        (["graph.k=5"], 'with the line "For every target gene name exactly 5 of the candidates'),
        (["inferer.targets_per_question=10"], 'with the line "Which .* each of these 10 target genes'),
        (["inferer.targets_per_question=1"], 'with the line "Which .* control the transcription of the target gene A'),
        (["dataset.context=Mouse liver."], 'with the line "The data: Mouse liver."'),
        (["llm.answer_format=json"], 'with the line "Your reply is JSON'),
        (["llm.prompts=zero_shot"], "each of the target genes listed at the end"),
        (["llm.prompts=cot_context_signs"], "each of the target genes listed at the end"),
        (
            ["inferer.n_samples=3"],
            r"sample 2 of a question is not recorded \(inferer.n_samples, ",
        ),
        (["inferer.first_sample=2"], "sample 2 of a question"),
        (["kb=llm", "inferer.first_sample=1"], "sample 1 of a question"),
        (["kb=human", "kb.list=scenic"], 'with the line "(Target genes|Candidate transcription factors): '),
    ],
)
def test_what_it_does_not_cover_is_refused_in_one_line_that_says_why(overrides, difference):
    setting = build(*overrides)
    tfs = setting.kb.transcription_factors(GENES, setting.dataset.context, 1).names
    with pytest.raises(UserError, match=rf"^llm=shipped: .*({difference})") as error:
        setting.inferer.infer(NAMES_ONLY, tfs, seed=1)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 600
    for word in "dataset=pbmc3k", "1000", "cot_context", "graph.k=10", "targets_per_question=20", "llm=gpt4":
        assert word in message


def test_known_lines_in_another_combination_are_refused_too():
    known = [message for request, *_ in list(read_jsonl(FILE))[:1] for message in request.messages]
    with pytest.raises(UserError, match=r"^llm=shipped: no answer to a question of these lines in this combination"):
        ShippedChat().answer(Request("any", known[1:]))


def test_other_genes_are_refused_as_well():
    setting = build("kb=llm")
    with pytest.raises(UserError, match=r'^llm=shipped: .* with the line "Genes: AATF, ABRACL, .*\.\.\."'):
        setting.kb.transcription_factors(GENES[:500:2], setting.dataset.context)


# ---------------------------------------------------------------- nothing is asked, and nothing pretends to be


def test_the_log_says_that_answers_were_read(monkeypatch):
    lines = []
    monkeypatch.setattr(logging.getLogger("llm4grn"), "info", lambda text, *words: lines.append(text % words))
    build().inferer.infer(NAMES_ONLY, tf_names("human"), seed=1)
    with pytest.raises(UserError):
        build("graph.k=5").inferer.infer(NAMES_ONLY, tf_names("human"), seed=1)
    assert lines == [f"{n} questions answered from the recording of claude" for n in ("40", "0 of 40")]
    assert build().inferer.llm.activity == "from the recording of claude"


def test_what_was_not_recorded_is_shown_as_such():
    audits = {"regulators": network("human").provenance["audit"]}
    for text in audit_text(audits), audit_table(audits):
        assert text.count("not recorded") == 4
    assert f"{'cost, US dollars':48} not recorded" in audit_text(audits)


def test_a_preview_counts_what_is_recorded_and_costs_nothing():
    text = build().inferer.preview(GENES, tf_names("human"), seed=1)
    assert "(40 answered in the recording of claude)" in text
    assert "0.00  (nobody is asked)" in text
    assert "answer tokens" not in text
    assert "(0 answered in" in build("graph.k=5").inferer.preview(GENES, tf_names("human"), seed=1)


def test_it_can_be_imported_into_the_kept_answers_of_a_model(cache):
    assert cache.put_all(read_jsonl(FILE)) == 221
    assert cache.summary()["models"]["claude"]["cost"] is None


def test_it_comes_with_the_package_and_its_origin():
    """The wheel carries every tracked file of the package: tests/test_wheel.py."""
    assert FILE.parent == FOLDER == Path(llm4grn.__file__).parent / "llm" / "shipped"
    assert "Claude" in (FOLDER / "README.md").read_text()
    assert FILE.stat().st_size < 200_000
    assert ShippedChat().path == str(FILE)
