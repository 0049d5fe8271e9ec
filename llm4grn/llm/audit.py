"""Audit of a language model's answers, to judge their quality before any cell is generated."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm4grn.llm.messages import NOT_RECORDED, recorded_sum

if TYPE_CHECKING:
    from llm4grn.llm.questions import Interview


def audit(interviews: Sequence[Interview], genes: Collection[str]) -> dict[str, Any]:
    """Count questions, repairs and invented symbols, and sum the cost.

    All figures are computed from the stored answers, so they do not depend on whether the answers came from the cache.

    Parameters
    ----------
    interviews
        Interviews of one stage.
    genes
        All genes of the data set: a named symbol that was not offered is *refused* if it is one of them, else
        *invented*.

    Returns
    -------
    dict
        ``questions``, ``requests`` (questions and repairs), ``repaired`` (answers usable after a repair), ``unusable``
        (answers never usable), symbols ``named``, ``refused``, ``invented`` and ``repeated`` in the answers used,
        ``truncated`` (answers cut off at max_tokens), ``prompt_tokens``, ``completion_tokens``, ``cost`` (US dollars),
        ``latency`` (mean seconds per request), and up to ten ``examples`` of invented symbols. Tokens, cost and latency
        cover the requests for which they were recorded, and are None if there are none. Only where there are any:
        ``declined`` (questions declined for their content), ``cached_tokens``, ``reasoning_tokens``, ``lost`` (US
        dollars for attempts without an answer, at most), ``served_models`` (as the server names them) and ``adapted``
        (how requests were changed for it).
    """
    known = {gene.upper() for gene in genes}
    answers = [answer for interview in interviews for answer in interview.answers.values()]
    replies = [reply for interview in interviews for reply in interview.replies]
    not_offered = [name for answer in answers for name in answer.invented]
    invented = [name for name in not_offered if name.upper() not in known]
    figures = {
        "questions": len(interviews),
        "requests": len(replies),
        "repaired": sum(interview.usable and len(interview.replies) > 1 for interview in interviews),
        "unusable": sum(not interview.usable for interview in interviews),
        "named": sum(len(answer.symbols) for answer in answers),
        "refused": len(not_offered) - len(invented),
        "invented": len(invented),
        "repeated": sum(len(answer.repeated) for answer in answers),
        "truncated": sum(reply.is_cut for reply in replies),
        "prompt_tokens": recorded_sum(reply.prompt_tokens for reply in replies),
        "completion_tokens": recorded_sum(reply.completion_tokens for reply in replies),
        "cost": _rounded(recorded_sum(reply.cost for reply in replies), 6),
        "latency": _rounded(_mean([reply.latency for reply in replies]), 3),
        "examples": sorted(set(invented))[:10],
    }
    rare = {
        "declined": sum(reply.is_declined for reply in replies),
        "cached_tokens": sum(reply.cached_tokens or 0 for reply in replies),
        "reasoning_tokens": sum(reply.reasoning_tokens or 0 for reply in replies),
        "lost": round(sum(reply.lost or 0.0 for reply in replies), 6),
        "served_models": sorted({reply.served_model for reply in replies if reply.served_model}),
        "adapted": sorted({reply.adapted for reply in replies if reply.adapted}),
    }
    return figures | {name: value for name, value in rare.items() if value}


def _mean(values: Sequence[float | None]) -> float | None:
    total = recorded_sum(values)
    return None if total is None else total / max(sum(value is not None for value in values), 1)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


_LABELS = {
    "questions": "questions",
    "requests": "requests, repairs included",
    "repaired": "answers repaired",
    "unusable": "answers never usable",
    "named": "symbols taken",
    "refused": "symbols refused (genes that were not offered)",
    "invented": "symbols invented (no genes of this data set)",
    "repeated": "symbols repeated",
    "truncated": "answers cut off at max_tokens",
    "declined": "questions declined for their content",
    "targets": "targets",
    "targets_short_of_k": "targets short of k",
    "targets_drawn_at_random": "targets drawn at random",
    "edges_signed": "edges with a sign",
    "edges_repressing": "edges with a sign: repression",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
    "cached_tokens": "prompt tokens read from the server's cache",
    "reasoning_tokens": "tokens of hidden reasoning",
    "cost": "cost, US dollars",
    "lost": "attempts without an answer, US dollars at most",
    "latency": "seconds per request, mean",
}

_LISTS = {"served_models": "answered by", "adapted": "asked"}


def audit_text(audits: Mapping[str, Mapping[str, Any]]) -> str:
    """Format the audit of each stage as text, one aligned line per figure; empty if no language model was asked."""
    parts = []
    for title, figures in audits.items():
        lines = [f"{label:48} {_shown(figures[name]):>12}" for name, label in _LABELS.items() if name in figures]
        for name, title_of_list in _LISTS.items():
            if figures.get(name):
                lines.append(f"{title_of_list:48} {', '.join(figures[name])}")
        if figures.get("examples"):
            lines.append(f"{'invented, for instance':48} {', '.join(figures['examples'])}")
        parts.append("\n  ".join([f"Audit of the language model, {title}:", *lines]))
    return "".join(f"{part}\n\n" for part in parts)


def audit_table(audits: Mapping[str, Mapping[str, Any]]) -> str:
    """Format the audits as a Markdown table, one column per stage; empty if no language model was asked.

    Examples
    --------
    >>> print(audit_table({"regulators": {"questions": 25, "examples": ["FOXQ9"]}}))
    |  | regulators |
    |---|---:|
    | questions | 25 |
    | invented, for instance | FOXQ9 |
    """
    if not audits:
        return ""
    rows = [[label, *(_shown(figures.get(name, "")) for figures in audits.values())] for name, label in _LABELS.items()]
    for name, label in _LISTS.items():
        rows.append([label, *(", ".join(figures.get(name, ())) for figures in audits.values())])
    rows.append(["invented, for instance", *(", ".join(figures.get("examples", ())) for figures in audits.values())])
    lines = [["", *audits], *(row for row in rows if any(row[1:]))]
    heading, *body = (f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)
    return "\n".join([heading, f"|---|{'---:|' * len(audits)}", *body])


def _shown(figure: object) -> str:
    return NOT_RECORDED if figure is None else str(figure)


def _cell(content: str) -> str:
    # Names come from a model and may contain Markdown or HTML syntax.
    return re.sub(r"([\\`*_\[\]<>|&])", r"\\\1", " ".join(content.split()))
