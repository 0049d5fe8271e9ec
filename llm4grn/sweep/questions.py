"""Count the questions of a sweep to language models, each once for all jobs, and estimate their cost; none is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.inference.llm import LLMInferer
from llm4grn.knowledge.llm import LLMKnowledgeBase
from llm4grn.knowledge.none import NoPriorList
from llm4grn.llm.bounds import bound
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.messages import Request
from llm4grn.llm.recorded import RecordedChat
from llm4grn.pipeline import describe
from llm4grn.setting import Setting
from llm4grn.store import Stage
from llm4grn.sweep.jobs import PlannedPipeline
from llm4grn.sweep.preflight import Problems

SECONDS_PER_ANSWER = 10.0  # a guess, for a few hundred tokens of a large model

Names = tuple[str, str, str]  # language model, subject of the questions, data set


@dataclass(frozen=True)
class Cost:
    """Questions of one kind to one language model, and what they cost.

    Parameters
    ----------
    llm, about, dataset
        Language model, subject of the questions, and data set.
    n_questions, n_answered
        Number of different questions, and of those whose answers are stored or recorded already.
    prompt_tokens
        Upper bound of the prompt tokens of the questions without an answer.
    dollars
        Upper bound of the cost in US dollars, with every answer at its full length and none asked again.
    is_guess
        True if genes or TFs are not known yet, and one gene in ten is counted as a TF.
    seconds
        Time until all are answered, at :data:`SECONDS_PER_ANSWER` and the concurrency that is allowed.
    batch_dollars
        Upper bound of the cost with ``llm.batch=true``, where there is a Batch API.
    """

    llm: str
    about: str
    dataset: str
    n_questions: int
    n_answered: int
    prompt_tokens: int
    dollars: float
    is_guess: bool
    seconds: float = 0.0
    batch_dollars: float = 0.0

    @property
    def names(self) -> Names:
        """Language model, subject and data set, which identify this row."""
        return self.llm, self.about, self.dataset


@dataclass
class _Interview:
    llm: LanguageModel
    requests: dict[tuple[str, str], Request]
    is_guess: bool = False


def costs(pipelines: Mapping[int, PlannedPipeline], problems: Problems) -> list[Cost]:
    """Return one row per language model, subject and data set, for the stages that are not in the store.

    Parameters
    ----------
    pipelines
        Job number to pipeline.
    problems
        Problems to add to, if questions cannot be asked.
    """
    interviews: dict[Names, _Interview] = {}
    seen: set[str] = set()
    for number, pipeline in pipelines.items():
        for stage, part, names in stages_that_ask(pipeline):
            if stage.key in seen:
                continue
            seen.add(stage.key)
            try:
                requests, is_guess = _requests(pipeline, part)
                if not is_guess:
                    _check_recorded(part.llm, requests)
            except UserError as error:
                problems.add(" ".join(str(error).split()), number)
                continue
            interview = interviews.setdefault(names, _Interview(part.llm, {}))
            # Placeholder TFs are the same for every knowledge base, the real ones are not: do not count them as shared.
            mark = repr((describe(pipeline.setting.kb), names)) if is_guess else ""
            interview.requests |= {(mark, request.key): request for request in requests}
            interview.is_guess |= is_guess
    return [_cost(names, interview) for names, interview in interviews.items()]


def stages_that_ask(pipeline: PlannedPipeline) -> list[tuple[Stage, LLMKnowledgeBase | LLMInferer, Names]]:
    """Return the stages to run that ask a language model, each with its knowledge base or inferer and `Cost.names`."""
    setting = pipeline.setting
    parts: list[tuple[Stage, object, str]] = [(pipeline.tfs, setting.kb, "transcription factors")]
    parts += [(leaf.grn, leaf.setting.inferer, "regulators") for leaf in pipeline.inferences]
    return [
        (stage, part, (part.llm.name, about, setting.dataset.name))
        for stage, part, about in parts
        if isinstance(part, LLMKnowledgeBase | LLMInferer) and not pipeline.store.has(stage)
    ]


def _requests(pipeline: PlannedPipeline, part: LLMKnowledgeBase | LLMInferer) -> tuple[list[Request], bool]:
    """Return the requests of a stage, and True if they are a guess because genes or TFs are not known yet."""
    setting = pipeline.setting
    has_genes = pipeline.store.has(pipeline.data)
    genes = _gene_names(pipeline.store.path(pipeline.data)) if has_genes else _placeholder_genes(setting)
    if isinstance(part, LLMKnowledgeBase):
        questions, is_guess = part.questions(genes, setting.dataset.context, setting.seed), not has_genes
    else:
        tfs = _known_tfs(pipeline, genes) if has_genes else None
        is_guess = tfs is None
        tfs = genes[::10] if tfs is None else tfs
        chosen = set(tfs)
        targets = [gene for gene in genes if gene not in chosen]
        questions = part.questions(targets, tfs, setting.inference_seed)
    return [part.llm.request(question) for question in questions], is_guess


def _check_recorded(llm: LanguageModel, requests: Sequence[Request]) -> None:
    """Raise UserError if the answers come from a recording that lacks one of them."""
    llm.check_changed(requests)
    if isinstance(llm.chat, RecordedChat):
        for request in requests:
            llm.chat.answer(request)


def _known_tfs(pipeline: PlannedPipeline, genes: Sequence[str]) -> list[str] | None:
    """Return the TFs among the genes; None if they depend on stages that have not run."""
    setting = pipeline.setting
    if pipeline.store.has(pipeline.tfs):
        return list(pipeline.tf_set.names)
    if isinstance(setting.kb, LLMKnowledgeBase | NoPriorList):
        return None
    return list(setting.kb.transcription_factors(genes, setting.dataset.context, setting.seed).names)


@cache
def _gene_names(folder: Path) -> list[str]:
    """Return the genes of a finished data stage, without reading its cells."""
    import anndata

    cells = anndata.read_h5ad(folder / "cells.h5ad", backed="r")
    try:
        return list(cells.var_names)
    finally:
        cells.file.close()


def _placeholder_genes(setting: Setting) -> list[str]:
    """Return as many names as genes will be selected, as long as most gene symbols."""
    return [f"GENE{i:04}" for i in range(setting.dataset.preprocessing.n_genes)]


def _cost(names: Names, interview: _Interview) -> Cost:
    llm, requests = interview.llm, list(interview.requests.values())
    answered = llm.answered(requests)
    # A recording is never asked anything, even where the questions are not known yet.
    to_ask = [request for request in requests if llm.chat.recording is None and request.key not in answered]
    most = bound(llm, to_ask)
    tokens, n_answered = most.prompt_tokens, len(requests) - len(to_ask)
    seconds = len(to_ask) * _seconds_per_answer(llm, tokens / max(len(to_ask), 1))
    batch = most.dollars if most.in_batch is None else most.in_batch
    return Cost(*names, len(requests), n_answered, tokens, most.dollars, interview.is_guess, seconds, batch)


def _seconds_per_answer(llm: LanguageModel, tokens: float) -> float:
    """Return the mean seconds from one answer to the next, for questions of ``tokens`` prompt tokens each."""
    at_once, requests, allowed = (
        getattr(llm.chat, name, None) for name in ("max_concurrency", "requests_per_minute", "tokens_per_minute")
    )
    return max(
        SECONDS_PER_ANSWER / (at_once or 1),
        60 / requests if requests else 0.0,
        60 * (tokens + llm.max_tokens) / allowed if allowed else 0.0,
    )
