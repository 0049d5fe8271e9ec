"""A language model as knowledge base: it names the transcription factors in overlapping windows of genes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llm4grn.errors import UserError
from llm4grn.knowledge.base import KnowledgeBase, TFSet
from llm4grn.llm.anonymous import GeneNames
from llm4grn.llm.audit import audit
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.parsing.answers import Answer, parse_answer
from llm4grn.llm.preview import preview
from llm4grn.llm.questions import Interview, Question
from llm4grn.validation import NonNegative, Positive, check_fields

_ANSWER = ""  # key of a window's only answer, which is not about one gene


@dataclass(frozen=True)
class LLMKnowledgeBase(KnowledgeBase):
    """Transcription factors named by a language model (section 3 of the protocol).

    Parameters
    ----------
    llm
        Language model that is asked.
    window
        Number of genes per question.
    overlap
        Number of genes that two consecutive questions share.
    min_votes
        Number of windows in which a gene must be named, or all its windows if it has fewer: the first and the last
        genes are in only one window.

    Raises
    ------
    UserError
        If a number is out of range.
    """

    llm: LanguageModel
    window: Positive = 20
    overlap: NonNegative = 10
    min_votes: Positive = 1

    def __post_init__(self) -> None:
        check_fields(self, "kb")
        if self.overlap >= self.window:
            raise UserError(f"kb.overlap={self.overlap}: must be smaller than kb.window={self.window}")

    def windows(self, genes: Sequence[str]) -> list[list[str]]:
        """Return the genes of each question, sorted by name or code: their order in the data does not matter."""
        ordered, step = self.llm.gene_names(genes).ordered(sorted(genes)), self.window - self.overlap
        return [ordered[i : i + self.window] for i in range(0, max(len(ordered) - self.overlap, 1), step)]

    def questions(self, genes: Sequence[str], context: str, seed: int) -> list[Question]:
        """Return one question per window."""
        names = self.llm.gene_names(genes)
        return [
            self._question(window, self.llm.described(context, names), names, seed) for window in self.windows(genes)
        ]

    def _question(self, window: Sequence[str], context: str, names: GeneNames, seed: int) -> Question:
        offered = [names.shown(gene) for gene in window]
        return Question(
            subject=f"{window[0]} to {window[-1]}",
            messages=self.llm.prompts.transcription_factors(offered, context),
            read=lambda text: {_ANSWER: names.read(parse_answer(text, offered))},
            complaint=lambda answers: _complaint(answers[_ANSWER]),
            response_format=self.llm.response_format(offered),
            seed=seed,
        )

    def preview(self, genes: Sequence[str], context: str, seed: int) -> str:
        """Describe the questions and their cost, see :func:`llm4grn.llm.preview.preview`."""
        return preview(self.llm, "transcription factors", self.questions(genes, context, seed))

    def transcription_factors(self, genes: Sequence[str], context: str = "", seed: int = 0) -> TFSet:
        """Ask about every window and return the genes with enough votes."""
        windows = self.windows(genes)
        interviews = self.llm.interview(self.questions(genes, context, seed), desc=f"TFs, {self.llm.activity}")
        asked = Counter(gene for window in windows for gene in window)
        votes = Counter(symbol for interview in interviews for symbol in interview.answers[_ANSWER].symbols)
        names = [gene for gene, n in votes.items() if n >= min(self.min_votes, asked[gene])]
        self._check_usable(names, genes, interviews)
        provenance = {
            "method": "llm",
            "llm": self.llm.name,
            "model": self.llm.model,
            "prompts": self.llm.prompts.name,
            "window": self.window,
            "overlap": self.overlap,
            "min_votes": self.min_votes,
            "audit": audit(interviews, [self.llm.gene_names(genes).shown(gene) for gene in genes]),
        }
        return TFSet(tuple(names), dict(sorted(votes.items())), provenance)

    def _check_usable(self, names: Sequence[str], genes: Sequence[str], interviews: Sequence[Interview]) -> None:
        """Raise UserError if no gene or every gene was named."""
        if not names:
            unusable = sum(not interview.usable for interview in interviews)
            raise UserError(
                f"{self.llm.name} names no TF among the {len(genes)} genes ({unusable} of {len(interviews)} answers "
                "could not be used); try another llm, llm.prompts, or fewer kb.min_votes"
            )
        if len(names) == len(set(genes)):
            raise UserError(
                f"{self.llm.name} calls all {len(genes)} genes TFs, so no target is left; try another llm, "
                "or more kb.min_votes"
            )


def _complaint(answer: Answer) -> str | None:
    if not answer.found:
        return "there was no answer in the required form"
    if answer.invented and not answer.symbols:
        return f"none of the names you gave is on the list, for instance {answer.invented[0]}"
    return None
