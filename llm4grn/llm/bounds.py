"""Bounds of the tokens and the cost of questions that have not been asked yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.messages import Request
from llm4grn.llm.openai.tokens import most_tokens

_PER_MESSAGE = 8  # tokens that the server adds for the role and the limits of a message
_COMPLAINT = 200  # tokens of the request to answer again


@dataclass(frozen=True)
class Bound:
    """Highest number of tokens, and cost in US dollars, of some requests.

    Parameters
    ----------
    prompt_tokens, answer_tokens
        Tokens of the questions, and of answers of full length; infinite if ``max_tokens`` sets no limit.
    dollars
        Cost if each question is asked once.
    with_repairs
        Cost if each answer has to be repaired as often as ``llm.max_repairs`` allows.
    in_batch
        Cost of asking each once through the Batch API; None if there is none or there are no prices.
    """

    prompt_tokens: int
    answer_tokens: float
    dollars: float
    with_repairs: float
    in_batch: float | None


def bound(llm: LanguageModel, requests: Sequence[Request]) -> Bound:
    """Return the highest cost of asking all ``requests``.

    Attempts that are billed and give no answer, which a server with faults causes, come on top; ``llm.max_cost`` limits
    them too.
    """
    prompt = sum(_PER_MESSAGE + most_tokens(message["content"]) for each in requests for message in each.messages)
    prompt += sum(most_tokens(each.schema) for each in requests)
    answers: float = sum(math.inf if each.length_limit is None else each.length_limit for each in requests)
    n_repairs = llm.max_repairs
    # Each repair repeats the conversation with the answers and complaints so far.
    longer = n_repairs * (n_repairs + 1) / 2 * (answers + _COMPLAINT * len(requests)) if n_repairs else 0.0
    dollars = _cost(llm, prompt, answers)
    batch = llm.chat.price_batch
    return Bound(
        prompt,
        answers,
        dollars,
        _cost(llm, (n_repairs + 1) * prompt + longer, (n_repairs + 1) * answers),
        None if batch is None or not dollars else batch * dollars,
    )


def _cost(llm: LanguageModel, prompt_tokens: float, answer_tokens: float) -> float:
    if not (llm.chat.cost(10**6, 0) or llm.chat.cost(0, 10**6)):
        return 0.0  # without prices, also infinitely many tokens cost nothing
    if math.isinf(answer_tokens):
        return math.inf
    return llm.chat.cost(math.ceil(prompt_tokens), math.ceil(answer_tokens))
