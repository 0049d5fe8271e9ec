"""The estimate of tokens, compared with what tokenizers make of questions and answers of this package."""

import pytest

from llm4grn.llm.answers_cache.jsonl import read_jsonl
from llm4grn.llm.openai.tokens import estimate_tokens, most_tokens
from llm4grn.llm.shipped import ShippedChat

#: Of cl100k (GPT-4), o200k (GPT-4o), Claude's and DeepSeek's tokenizer: questions and answers of the shipped recording,
#: by position, counted once with the tokenizers themselves.
COUNTED = [
    (99, (1177, 1175, 1196, 1177), (1878, 1856, 1953, 1876)),
    (149, (1075, 1072, 1099, 1086), (1644, 1616, 1736, 1657)),
    (220, (1187, 1182, 1205, 1185), (1793, 1769, 1840, 1796)),
    (0, (288, 287, 293, 287), (319, 316, 316, 295)),
    (40, (292, 290, 294, 287), (286, 285, 303, 261)),
    (98, (294, 294, 299, 292), (364, 366, 407, 368)),
]


@pytest.mark.parametrize(("i", "question", "answer"), COUNTED)
def test_the_estimate_is_close_and_the_bound_is_one(i, question, answer):
    request, reply, _ = list(read_jsonl(ShippedChat().path))[i]
    asked = " \n".join(message["content"] for message in request.messages)
    for text, counted in (asked, question), (reply.text, answer):
        assert 0.95 * max(counted) <= estimate_tokens(text) <= 1.3 * min(counted)
        assert max(counted) < most_tokens(text) <= 1.5 * estimate_tokens(text)  # each digit may be a token


def test_ensembl_ids_have_three_digits_to_a_token():
    ids = ", ".join(f"ENSG{i * 7919 % 10**6:011}" for i in range(100))
    counted = 798  # cl100k
    assert 0.85 * counted < estimate_tokens(ids) < counted < most_tokens(ids)


@pytest.mark.parametrize("text", ["", "x", "\ud83d", "ß" * 10, "\n" * 50, "GATA1\0"])
def test_any_text_has_tokens(text):
    assert bool(text) <= estimate_tokens(text) <= max(len(text.encode(errors="replace")), 3 * len(text))
