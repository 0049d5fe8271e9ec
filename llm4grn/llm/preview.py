"""Preview of an interview: an example prompt, the number of questions, and the estimated cost."""

from __future__ import annotations

from collections.abc import Sequence

from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.limits import estimate_tokens
from llm4grn.llm.questions import Question


def preview(llm: LanguageModel, title: str, questions: Sequence[Question]) -> str:
    """Describe the questions: one full prompt, and the number of questions, their tokens and their cost.

    Tokens are estimates. Every answer is counted with ``llm.max_tokens``, so the cost is an upper bound, apart from
    repairs. A recording has no cost, so only its questions are counted.

    Parameters
    ----------
    llm
        Language model that would be asked.
    title
        Subject of the questions.
    questions
        All questions of the interview.
    """
    requests = [llm.request(question) for question in questions]
    n_answered = len(llm.answered(requests))
    dialogue = "\n".join(f"[{message['role']}]\n{message['content']}\n" for message in questions[0].messages)
    heading = (
        f"--- {title}: one of {len(questions)} questions, about {questions[0].subject} ---\n\n{dialogue}\n"
        f"--- {title}: the sum ---\n"
    )
    if llm.chat.recording is not None:
        return (
            f"{heading}questions          {len(questions):>10,}  ({n_answered:,} answered in {llm.chat.recording})\n"
            f"cost, US dollars   {0:>10,.2f}  (nobody is asked)\n"
        )
    prompt = sum(estimate_tokens(message["content"]) for request in requests for message in request.messages)
    share = (len(requests) - n_answered) / max(len(requests), 1)
    completion = llm.max_tokens * len(requests)
    return (
        f"{heading}questions          {len(questions):>10,}  ({n_answered:,} answered already)\n"
        f"prompt tokens      {prompt:>10,}  (estimated)\n"
        f"answer tokens      {completion:>10,}  (at most)\n"
        f"cost, US dollars   {share * llm.chat.cost(prompt, completion):>10,.2f}  (at most, without repairs)\n"
    )
