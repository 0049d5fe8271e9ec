"""A language model as inferer: it names the regulators of each target without access to the expression data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer, split_genes
from llm4grn.llm.anonymous import GeneNames
from llm4grn.llm.audit import audit
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.parsing.answers import Answer, parse_answer
from llm4grn.llm.parsing.answers_by_target import parse_answers
from llm4grn.llm.preview import preview
from llm4grn.llm.questions import Interview, Question
from llm4grn.runtime.seeding import derive_seed
from llm4grn.validation import NonNegative, Positive, check_fields

logger = logging.getLogger("llm4grn")

if TYPE_CHECKING:
    import anndata

    from llm4grn.grn import GRN


@dataclass(frozen=True)
class LLMInferer(Inferer):
    """The ``k`` TFs that a language model names as regulators of each target (section 4 of the protocol).

    The importance of an edge is the share of the answers about its target that name the TF; ties are ordered by how
    early the TF is named. A target for which the model names fewer than ``k`` TFs keeps those. If the prompts ask for
    signs (``llm.prompts=cot_context_signs``), the sign of an edge is the one that most answers give it; 0 for a tie.

    Parameters
    ----------
    llm
        Language model that is asked.
    context
        Description of the data set's biology in a few sentences.
    k
        Number of TFs asked for, per target.
    targets_per_question
        Number of targets per question. More than 1 is cheaper: the list of candidates, most of the prompt, is sent
        only once for all of them.
    n_samples
        Independent answers per question; more than 1 needs a temperature above 0.
    first_sample
        Index of the first of the independent answers. Networks from disjoint samples show how consistent the model is
        with itself.
    unanswered
        Handling of targets without any usable answer: ``error`` raises UserError; ``random`` draws ``k`` TFs, logs a
        warning, and counts these targets in the audit.

    Raises
    ------
    UserError
        If a value is invalid.
    """

    uses_expression: ClassVar[bool] = False

    llm: LanguageModel
    context: str = ""
    k: Positive = 10
    targets_per_question: Positive = 1
    n_samples: Positive = 1
    unanswered: Literal["error", "random"] = "error"
    first_sample: NonNegative = field(default=0, metadata={"optional": True})

    def __post_init__(self) -> None:
        check_fields(self, "inferer", k="graph.k", context="dataset.context")
        for name, maximum in ("n_samples", 1), ("first_sample", 0):
            if getattr(self, name) > maximum and self.llm.temperature == 0:
                raise UserError(
                    f"inferer.{name}={getattr(self, name)} and llm.temperature=0: all samples would be the same; "
                    "set llm.temperature=0.7, say"
                )

    def questions(self, targets: Sequence[str], tf_names: Sequence[str], seed: int) -> list[Question]:
        """Return all samples of the question about each target or group of targets."""
        names = self.llm.gene_names([*targets, *tf_names], tf_names)
        ordered, tfs, size = names.ordered(targets), names.ordered(tf_names), self.targets_per_question
        groups = [ordered[i : i + size] for i in range(0, len(ordered), size)]
        return [
            self._question(group, tfs, names, sample, derive_seed(seed, "llm", *group, sample))
            for group in groups
            for sample in range(self.first_sample, self.first_sample + self.n_samples)
        ]

    def _question(
        self, targets: Sequence[str], tfs: Sequence[str], names: GeneNames, sample: int, seed: int
    ) -> Question:
        k = min(self.k, len(tfs))
        asked, offered = [names.shown(target) for target in targets], [names.shown(tf) for tf in tfs]
        context = self.llm.described(self.context, names)

        def read(text: str) -> Mapping[str, Answer]:
            if len(targets) == 1:
                return {targets[0]: names.read(parse_answer(text, offered))}
            answers = parse_answers(text, asked, offered)
            return {target: names.read(answers[code]) for target, code in zip(targets, asked, strict=True)}

        return Question(
            subject=", ".join(targets),
            messages=self.llm.prompts.regulators(asked, offered, k, context),
            read=read,
            complaint=lambda answers: _complaint(
                {names.shown(target): own for target, own in answers.items()}, k, self.llm.prompts.signs
            ),
            response_format=self.llm.response_format(
                offered, asked if len(targets) > 1 else None, k, self.llm.prompts.signs
            ),
            sample=sample,
            seed=seed,
        )

    def preview(self, genes: Sequence[str], tf_names: Sequence[str] | None, seed: int) -> str:
        """Describe the questions and their cost, see :func:`llm4grn.llm.preview.preview`."""
        tfs, targets = _split(genes, tf_names)
        return preview(self.llm, "regulators", self.questions(targets, tfs, seed))

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Ask about every target; only the gene names of ``adata`` are used."""
        import pandas as pd

        from llm4grn.grn import GRN
        from llm4grn.grn.signs import SIGN

        tfs, targets = _split(list(adata.var_names), tf_names)
        questions = self.questions(targets, tfs, seed)
        interviews = self.llm.interview(questions, desc=f"regulators, {self.llm.activity}")
        answers_by_target = by_target(interviews)
        ranked = {target: importances(answers) for target, answers in answers_by_target.items()}
        empty = [target for target in targets if not ranked[target]]
        self._report_empty(empty, targets)
        for target in empty:
            ranked[target] = self._draw(target, tfs, seed)
        names = self.llm.gene_names([*targets, *tfs], tfs)
        rows = [(tf, target, score) for target, scores in ranked.items() for tf, score in scores.items()]
        edges = pd.DataFrame(rows, columns=["TF", "target", "importance"])
        signed: dict[str, int] = {}
        if self.llm.prompts.signs:
            signs = {target: edge_signs(answers) for target, answers in answers_by_target.items()}
            edges[SIGN] = [signs[target].get(tf, 0) for tf, target, _ in rows]
            signed = {"edges_signed": int((edges[SIGN] != 0).sum()), "edges_repressing": int((edges[SIGN] < 0).sum())}
        provenance = {
            "method": "llm",
            "llm": self.llm.name,
            "model": self.llm.model,
            "prompts": self.llm.prompts.name,
            "seed": seed,
            "samples": self.n_samples,
            "audit": {
                **audit(interviews, [names.shown(gene) for gene in adata.var_names]),
                "targets": len(targets),
                "targets_short_of_k": sum(len(ranked[target]) < min(self.k, len(tfs)) for target in targets),
                "targets_drawn_at_random": len(empty),
                **signed,
            },
        }
        return GRN.from_edges(edges, provenance)

    def _report_empty(self, empty: Sequence[str], targets: Sequence[str]) -> None:
        """Warn about targets without a usable answer, or raise UserError if ``unanswered`` is ``error``."""
        if not empty:
            return
        what = f"{self.llm.name} names no TF for {len(empty)} of {len(targets)} targets, for instance {empty[0]}"
        if self.unanswered == "error":
            raise UserError(
                f"{what}; all answers are kept: try another llm, llm.prompts or more llm.max_repairs, "
                "or let them be drawn at random with inferer.unanswered=random"
            )
        logger.warning("%s; their TFs are drawn at random, as inferer.unanswered=random says", what)

    def _draw(self, target: str, tfs: Sequence[str], seed: int) -> dict[str, float]:
        import numpy as np

        drawn = np.random.default_rng(derive_seed(seed, "unanswered", target)).permutation(len(tfs))[: self.k]
        return {tfs[i]: 1.0 / (rank + 1) for rank, i in enumerate(drawn)}


def _split(genes: Sequence[str], tf_names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return TFs and targets, both sorted by name."""
    if tf_names is None:
        raise UserError(
            "kb=none and inferer=llm: every question would offer all genes as TFs; "
            "use kb=llm, which asks for the TFs first, and graph.tf_k=0"
        )
    tfs, targets = split_genes(genes, tf_names)
    return sorted(tfs), sorted(targets)


def by_target(interviews: Sequence[Interview]) -> dict[str, list[Answer]]:
    """Group the answers by target, one answer per sample."""
    answers: dict[str, list[Answer]] = {}
    for interview in interviews:
        for target, answer in interview.answers.items():
            answers.setdefault(target, []).append(answer)
    return answers


def importances(answers: Sequence[Answer]) -> dict[str, float]:
    """Compute the importance of each TF named in the answers about one target.

    The importance is the share of the answers that name the TF, plus a bonus for early mentions that is smaller than
    any difference between two shares: the mean of 1 - rank / length over all answers (ranks start at 0), divided by the
    number of answers plus 1.

    Examples
    --------
    >>> first, second = Answer(("SPI1", "JUN"), (), (), True), Answer(("JUN",), (), (), True)
    >>> importances([first, second])  # doctest: +ELLIPSIS
    {'JUN': 1.25, 'SPI1': 0.666...}
    """
    shares: dict[str, float] = {}
    early: dict[str, float] = {}
    for answer in answers:
        for rank, tf in enumerate(answer.symbols):
            shares[tf] = shares.get(tf, 0.0) + 1 / len(answers)
            early[tf] = early.get(tf, 0.0) + (1 - rank / len(answer.symbols)) / len(answers)
    scores = {tf: share + early[tf] / (len(answers) + 1) for tf, share in shares.items()}
    return dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))


def edge_signs(answers: Sequence[Answer]) -> dict[str, int]:
    """Return the sign that most answers about one target give each TF: 1, -1, or 0 for a tie or no sign.

    Examples
    --------
    >>> first = Answer(("SPI1", "BCL6"), found=True, signs=(1, -1))
    >>> edge_signs([first, Answer(("SPI1",), found=True), Answer(("BCL6",), found=True, signs=(1,))])
    {'SPI1': 1, 'BCL6': 0}
    """
    votes: dict[str, int] = {}
    for answer in answers:
        for tf, sign in zip(answer.symbols, answer.signs or (0,) * len(answer.symbols), strict=True):
            votes[tf] = votes.get(tf, 0) + sign
    return {tf: (vote > 0) - (vote < 0) for tf, vote in votes.items()}


def _complaint(answers: Mapping[str, Answer], k: int, signs: bool = False) -> str | None:
    """Return what is wrong with the answers, to be sent to the model; None if they are usable."""
    for target, answer in answers.items():
        about = f"for {target} " if len(answers) > 1 else ""
        if not answer.found:
            return f"{about}there was no answer in the required form"
        if len(answer.symbols) < k:
            invented = f", and {answer.invented[0]} is not on the list" if answer.invented else ""
            return f"{about}{k} different names from the list were asked for, and {len(answer.symbols)} given{invented}"
    if signs and not any(answer.signs for answer in answers.values()):
        return "no name has its sign: + directly after it if it activates the target, - if it represses it"
    return None
