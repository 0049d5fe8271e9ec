"""Who is a transcription factor, and who regulates whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm4grn.api.cells import SplitCells
from llm4grn.api.options import inferer_named, knowledge_base_named
from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.inference.base import Inferer, names_only
from llm4grn.knowledge.base import KnowledgeBase, TFSet
from llm4grn.knowledge.none import NoPriorList
from llm4grn.pipeline import describe
from llm4grn.store import Stage, Store

TFs = str | Sequence[str] | KnowledgeBase | TFSet | None


def transcription_factors(
    cells: SplitCells,
    tfs: TFs = "curated",
    *,
    llm: str | None = None,
    answers: str | Path | None = None,
    seed: int = 1000,
    **options: Any,
) -> TFSet:
    """Return the genes that are transcription factors.

    Parameters
    ----------
    cells
        Whose genes are asked about.
    tfs
        ``curated``: the curated list of the cells' organism; ``human`` or ``mouse``: that of this organism; ``llm``:
        the language model ``llm`` names them; ``random``; a list of names, of which those among the genes count; or a
        :class:`~llm4grn.knowledge.base.KnowledgeBase`.
    llm
        A language model of ``conf/llm``: ``shipped`` (recorded answers about pbmc3k), ``gpt4``, ``openai_compatible``,
        ``local``, ... Keys come from the environment.
    answers
        SQLite file in which every answer is kept, so that nothing is paid twice; None keeps none.
    seed
        Of the language model's sampling and of ``random``.
    options
        Fields of the knowledge base's YAML, for instance ``window=10``, and of the language model's with the prefix
        ``llm_``, for instance ``llm_max_cost=5``.

    Raises
    ------
    UserError
        If no gene is a TF, or an option does not exist.

    Examples
    --------
    >>> import llm4grn as lg
    >>> cells = lg.preprocess(lg.datasets.pbmc3k())
    >>> len(lg.transcription_factors(cells).names)
    200
    """
    if isinstance(tfs, TFSet):
        return tfs
    if isinstance(tfs, KnowledgeBase):
        return tfs.transcription_factors(cells.genes, cells.context, seed)
    if tfs is None or isinstance(tfs, str):
        told = {"organism": cells.organism, "context": cells.context, "answers": answers}
        if tfs in ("human", "mouse"):
            told["organism"] = tfs
        name = {None: "none", "curated": "human", "mouse": "human"}.get(tfs, tfs)
        kb = knowledge_base_named(str(name), options, llm=llm, told=told)
        return transcription_factors(cells, kb, seed=seed)
    named = set(tfs) & set(cells.genes)
    if not named:
        raise UserError(f"tfs: none of the {len(tfs)} names is among the {len(cells.genes)} genes; check the symbols")
    return TFSet(tuple(named), provenance={"method": "given", "given": len(tfs)})


def infer_grn(
    cells: SplitCells,
    tfs: TFs = "curated",
    inferer: str | Inferer = "grnboost2",
    *,
    llm: str | None = None,
    k: int = 10,
    answers: str | Path | None = None,
    store: str | Path | None = None,
    seed: int = 1000,
    **options: Any,
) -> GRN:
    """Rank the transcription factors of each target gene, on the training cells or from gene names alone.

    Parameters
    ----------
    cells
        See :func:`preprocess`. Only training cells are read, and by a language model or ``random`` none at all.
    tfs
        See :func:`transcription_factors`; None: no list, the TFs are read off the ranked network.
    inferer
        ``grnboost2``, ``llm``, ``consensus``, ``genie3``, ``correlation``, ``pidc``, ``random``, ..., the names of
        ``conf/inferer``; or an :class:`~llm4grn.inference.base.Inferer`.
    llm
        A language model of ``conf/llm``, for the inferers that ask one, see :func:`transcription_factors`.
    k
        How many regulators a language model is asked for; other inferers rank all TFs.
    answers
        SQLite file in which every answer is kept, so that nothing is paid twice; None keeps none.
    store
        Folder of finished stages: the same call again reads the network from it; None keeps nothing.
    seed
        Of the inference.
    options
        Fields of the inferer's YAML, for instance ``n_seeds=10``, and of the language model's with the prefix ``llm_``,
        for instance ``llm_max_cost=5``.

    Returns
    -------
    GRN
        It knows its genes and TFs, so that ``grn.top(k)`` needs no more.

    Raises
    ------
    UserError
        For an option that does not exist, fewer TFs than ``k``, or whatever the inferer refuses.

    Examples
    --------
    >>> import llm4grn as lg
    >>> cells = lg.preprocess(lg.datasets.pbmc3k())
    >>> grn = lg.infer_grn(cells, tfs="human", inferer="llm", llm="shipped")
    >>> grn.top(10).n_edges
    8000
    """
    told = {"organism": cells.organism, "context": cells.context, "k": k, "answers": answers}
    method = inferer if isinstance(inferer, Inferer) else inferer_named(inferer, options, llm=llm, told=told)
    if isinstance(inferer, Inferer) and options:
        raise UserError(f"{next(iter(options))}: an inferer that is an object has its options already")
    without_list = tfs is None or isinstance(tfs, NoPriorList)
    known = None if without_list else transcription_factors(cells, tfs, llm=llm, answers=answers, seed=seed)
    if known is not None and k > len(known.names):
        raise UserError(f"k={k}: there are only {len(known.names)} TFs among the genes; choose k={len(known.names)}")
    names = None if known is None else known.names

    def infer() -> GRN:
        return method.infer(cells.train if method.uses_expression else names_only(cells.adata), names, seed)

    if store is None:
        grn = infer()
    else:
        args = {"inferer": describe(method), "seed": seed, "tfs": names}
        stage = Stage("grn", 1, args, {"cells": cells.fingerprint})
        folder = Store(Path(store)).get_or_run(stage, lambda folder: infer().write(folder / "grn.tsv"))
        grn = GRN.read(folder / "grn.tsv")
    if known is None:
        known = (tfs if isinstance(tfs, NoPriorList) else NoPriorList(k=k)).select(grn, cells.genes)
    return dataclasses.replace(grn, genes=cells.genes, tf_names=known.names)
