"""Preview of an interview: an example prompt, the number of questions, and the estimated cost."""

from __future__ import annotations

from collections.abc import Sequence

from llm4grn.llm.bounds import bound
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.questions import Question


def preview(llm: LanguageModel, title: str, questions: Sequence[Question]) -> str:
    """Describe the questions: one full prompt, and the number of questions, their tokens and their cost.

    Tokens and costs are bounds, see :func:`llm4grn.llm.bounds.bound`. A recording has no cost, so only its questions
    are counted.

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
    answered = llm.answered(requests)
    dialogue = "\n".join(f"[{message['role']}]\n{message['content']}\n" for message in questions[0].messages)
    heading = (
        f"--- {title}: one of {len(questions)} questions, about {questions[0].subject} ---\n\n{dialogue}\n"
        f"--- {title}: the sum ---\n"
    )
    if llm.chat.recording is not None:
        return (
            f"{heading}questions          {len(questions):>10,}  ({len(answered):,} answered in {llm.chat.recording})\n"
            f"cost, US dollars   {0:>10,.2f}  (nobody is asked)\n"
        )
    most, to_ask = bound(llm, requests), bound(llm, [each for each in requests if each.key not in answered])
    batch = f"in a batch          {to_ask.in_batch:>9,.2f}  (the same with llm.batch=true)\n" if to_ask.in_batch else ""
    return (
        f"{heading}questions          {len(questions):>10,}  ({len(answered):,} answered already)\n"
        f"prompt tokens      {most.prompt_tokens:>10,}  (at most)\n"
        f"answer tokens      {most.answer_tokens:>10,}  (at most)\n"
        f"cost, US dollars   {to_ask.dollars:>10,.2f}  (at most, without repairs)\n"
        f"with all repairs   {to_ask.with_repairs:>10,.2f}  (at most)\n{batch}"
    )
