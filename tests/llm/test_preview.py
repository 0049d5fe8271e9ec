"""The preview: a whole prompt and sums that can be checked by hand, from a server that is never asked."""

import math
import re

import pytest

from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.messages import Reply
from llm4grn.llm.openai.chat import OpenAIChat
from llm4grn.llm.openai.tokens import estimate_tokens
from llm4grn.llm.preview import preview
from llm4grn.llm.questions import Question

#: Nobody answers there, and no key is set: whatever is asked fails.
CHAT = OpenAIChat("http://127.0.0.1:9/v1", api_key_env="NO_SUCH_KEY", price_prompt=1000, price_completion=2000)
CONTENT = "Which of these are transcription factors? GATA1, ACTB"


def question(i):
    messages = [{"role": "system", "content": "You know it."}, {"role": "user", "content": f"{CONTENT}, X{i}"}]
    return Question(f"gene {i}", messages, read=lambda text: {}, complaint=lambda answers: None)


def model(path=None):
    return LanguageModel("tester", "test-model", CHAT, max_tokens=100, cache=path and str(path))


def figures(text):
    return {label: number for label, number in re.findall(r"^(\w[\w, ]+?) {2,}([\d,.]+)", text, re.M)}


def test_it_shows_one_whole_prompt_and_the_sum_of_all():
    text = preview(model(), "transcription factors", [question(i) for i in range(10)])
    assert "one of 10 questions, about gene 0" in text
    assert f"[system]\nYou know it.\n\n[user]\n{CONTENT}, X0\n" in text
    tokens = [estimate_tokens("You know it."), estimate_tokens(f"{CONTENT}, X0")]
    assert tokens == [5, 19]
    assert sum(8 + math.ceil(1.25 * n) for n in tokens) == 47  # per question
    assert figures(text) == {
        "questions": "10",
        "prompt tokens": "470",
        "answer tokens": "1,000",
        "cost, US dollars": "2.47",  # (470 * 1000 + 1000 * 2000) / 1e6
        # Each asked three times, and then with one and two answers and complaints of 100 + 200 tokens
        "with all repairs": "16.41",  # (3 * 470 * 1000 + 10 * 3 * 300 * 1000 + 3 * 1000 * 2000) / 1e6
        "in a batch": "1.24",
    }


@pytest.mark.parametrize(("n_kept", "cost"), [(0, "2.47"), (4, "1.48"), (10, "0.00")])
def test_what_is_answered_already_costs_nothing(tmp_path, n_kept, cost):
    llm, questions = model(tmp_path / "answers.sqlite"), [question(i) for i in range(10)]
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        for asked in questions[:n_kept]:
            cache.put(llm.request(asked), Reply("none"))
    text = preview(llm, "regulators", questions)
    assert f"({n_kept} answered already)" in text
    assert figures(text)["cost, US dollars"] == cost


def test_it_leaves_no_file_behind(tmp_path):
    preview(model(tmp_path / "answers.sqlite"), "regulators", [question(0)])
    assert list(tmp_path.iterdir()) == []
