"""What the language model of a finished run said about its targets, from the stored answers; no model is asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm4grn.errors import UserError
from llm4grn.evaluation.graphs.runs import GraphRun
from llm4grn.inference.llm import LLMInferer
from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.language_model import LanguageModel
from llm4grn.llm.local import LocalChat
from llm4grn.llm.messages import ChatModel, Ledger, Reply, Request
from llm4grn.llm.prompts import Prompts
from llm4grn.llm.questions import Question
from llm4grn.llm.recorded import RecordedChat
from llm4grn.llm.sentences import statement
from llm4grn.llm.shipped import ShippedChat

logger = logging.getLogger("llm4grn")

_LLM_FIELDS = ("name", "model", "temperature", "max_tokens", "parameters", "max_repairs")
_INFERER_FIELDS = ("context", "k", "targets_per_question", "n_samples", "first_sample")


def statements(
    run: GraphRun, edges: Iterable[tuple[str, str]], answers: str | Path | None = None
) -> dict[tuple[str, str], str]:
    """Return what the model said about the target of each edge, where it is stored.

    The questions of the run are made again from its configuration, genes and TFs, and looked up in the recording or in
    the file of answers that the run used. Of several samples, the first that names the TF counts.

    Parameters
    ----------
    run
        Run whose inferer is a language model or combines one with others; other runs have no statements.
    edges
        TF and target of each edge.
    answers
        SQLite file of answers; None for that of the run.
    """
    edges = list(edges)
    config = language_model_config(run)
    if config is None or run.candidates is None:
        return {}
    try:
        inferer = _inferer(config)
        tfs = sorted(run.tf_names)
        targets = sorted(set(run.causal_graph.genes) - set(tfs))
        wanted = {target for _, target in edges}
        questions = [
            question
            for question in inferer.questions(targets, tfs, run.inference_seed)
            if wanted.intersection(question.subject.split(", "))
        ]
        replies = _replies(inferer.llm, questions, answers or config["llm"].get("cache"))
    except (UserError, KeyError, TypeError, OSError) as error:
        logger.warning("%s: what the model said is not found (%s)", run.folder, " ".join(str(error).split())[:200])
        return {}
    return dict(_about(edges, questions, replies))


def language_model_config(run: GraphRun) -> Mapping[str, Any] | None:
    """Return the configuration of the run's language model as inferer, also as a member of a combination."""
    return _find(run.config["inferer"]["method"])


def _find(node: object) -> Mapping[str, Any] | None:
    if not isinstance(node, Mapping):
        return None
    if str(node.get("_target_")).endswith(".LLMInferer"):
        return node
    return next((found for part in node.values() if (found := _find(part)) is not None), None)


def _inferer(config: Mapping[str, Any]) -> LLMInferer:
    """Build the inferer from plain values; nothing that the configuration names is executed."""
    node = config["llm"]
    prompts = Prompts.load(node["prompts"]["name_or_path"], node["prompts"]["answer_format"])
    fields = {name: node[name] for name in _LLM_FIELDS if name in node}
    llm = LanguageModel(chat=_chat(node["chat"]), prompts=prompts, **fields)
    return LLMInferer(llm, **{name: config[name] for name in _INFERER_FIELDS if name in config})


def _chat(node: Mapping[str, Any]) -> ChatModel:
    kind = str(node["_target_"]).rpartition(".")[2]
    if kind == ShippedChat.__name__:
        return ShippedChat()
    if kind == RecordedChat.__name__:
        return RecordedChat(node["path"])
    return LocalChat(node.get("path")) if kind == LocalChat.__name__ else _Silent()


class _Silent(ChatModel):
    """A model that is not asked: its answers can only be in a file of answers."""

    async def complete(self, request: Request, ledger: Ledger | None = None) -> Reply:
        raise UserError("no model is asked here")


def _replies(llm: LanguageModel, questions: Sequence[Question], cache: object) -> list[str | None]:
    """Return the text of the stored reply that counted for each question."""
    if isinstance(llm.chat, RecordedChat):
        recorded = llm.chat
        return [
            _last(llm, question, lambda r: recorded.answer(r) if recorded.has(r) else None) for question in questions
        ]
    if cache is None or not Path(str(cache)).is_file():
        return [None] * len(questions)
    with AnswerCache(str(cache)) as opened:
        return [_last(llm, question, opened.get) for question in questions]


def _last(llm: LanguageModel, question: Question, look_up: Callable[[Request], Reply | None]) -> str | None:
    """Follow the stored conversation to the first usable answer, or else to its end."""
    messages, text = question.messages, None
    for _ in range(llm.max_repairs + 1):
        reply = look_up(llm.request(question, messages))
        if reply is None:
            break
        text = reply.text
        complaint = question.complaint(question.read(text))
        if complaint is None:
            break
        messages = llm.prompts.repair(messages, text, complaint)
    return text


def _about(
    edges: Sequence[tuple[str, str]], questions: Sequence[Question], replies: Sequence[str | None]
) -> Iterable[tuple[tuple[str, str], str]]:
    """Yield each edge with what is said about its target, from a reply that names the TF, if there is one."""
    by_target: dict[str, list[tuple[Question, str]]] = {}
    for question, text in zip(questions, replies, strict=True):
        for target in question.subject.split(", "):
            if text is not None:
                by_target.setdefault(target, []).append((question, text))
    for tf, target in edges:
        asked = by_target.get(target, [])
        naming = [(q, text) for q, text in asked if len(asked) == 1 or tf in q.read(text)[target].symbols]
        for question, text in naming or asked:
            if said := statement(text, target, question.subject.split(", "), tf):
                yield (tf, target), said
                break
