"""What an interview would ask and cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence

from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.openai.limits import estimate_tokens
from llm4grn.llm.questions import Question


def preview(llm: LanguageModel, title: str, questions: Sequence[Question]) -> str:
    """One full prompt, and the number of questions, tokens and dollars of all of them.

    Tokens are estimates; answers are counted at their longest, ``llm.max_tokens``, so the cost is an upper bound but
    for answers that are asked again. Of a recording, only the questions are counted: nobody is asked.

    Parameters
    ----------
    llm
        Who would be asked.
    title
        What the questions are about.
    questions
        All of them.
    """
    requests = [llm.request(question) for question in questions]
    kept = len(llm.answered(requests))
    dialogue = "\n".join(f"[{message['role']}]\n{message['content']}\n" for message in questions[0].messages)
    heading = (
        f"--- {title}: one of {len(questions)} questions, about {questions[0].subject} ---\n\n{dialogue}\n"
        f"--- {title}: the sum ---\n"
    )
    if llm.chat.recording is not None:
        return (
            f"{heading}questions          {len(questions):>10,}  ({kept:,} answered in {llm.chat.recording})\n"
            f"cost, US dollars   {0:>10,.2f}  (nobody is asked)\n"
        )
    prompt = sum(estimate_tokens(message["content"]) for request in requests for message in request.messages)
    share = (len(requests) - kept) / max(len(requests), 1)
    completion = llm.max_tokens * len(requests)
    return (
        f"{heading}questions          {len(questions):>10,}  ({kept:,} answered already)\n"
        f"prompt tokens      {prompt:>10,}  (estimated)\n"
        f"answer tokens      {completion:>10,}  (at most)\n"
        f"cost, US dollars   {share * llm.chat.cost(prompt, completion):>10,.2f}  (at most, without repairs)\n"
    )
