"""Transcription factors of a data set, and inference of its gene regulatory network."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm4grn.api.cells import SplitCells
from llm4grn.api.options import inferer_named, knowledge_base_named
from llm4grn.data.expression import chosen_expression
from llm4grn.data.names import match_names
from llm4grn.data.symbols import likely_organism
from llm4grn.data.users_cells import CellChoice
from llm4grn.data.users_files import CellFile
from llm4grn.errors import UserError
from llm4grn.grn import GRN
from llm4grn.inference.base import CombiningInferer, Inferer, names_only
from llm4grn.inference.expression import Expression
from llm4grn.inference.genie3 import GENIE3
from llm4grn.inference.grnboost2 import GRNBoost2
from llm4grn.knowledge.base import KnowledgeBase, TFSet
from llm4grn.knowledge.curated import tfs_among
from llm4grn.knowledge.none import NoPriorList
from llm4grn.pipeline import describe
from llm4grn.store import Stage, Store

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger("llm4grn")

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
        Cells whose genes are classified.
    tfs
        ``curated`` for the curated list of the cells' organism; ``human`` or ``mouse`` for that of this organism;
        ``llm`` for the TFs that the language model ``llm`` names; ``random``; a list of names, of which only those
        among the genes are used; or a :class:`~llm4grn.knowledge.base.KnowledgeBase`.
    llm
        A language model of ``conf/llm``: ``shipped`` (recorded answers about pbmc3k), ``gpt4``, ``openai_compatible``,
        ``local``, ... Keys come from the environment.
    answers
        SQLite file that stores every answer, so that no question is paid for twice; None stores none.
    seed
        Seed for the language model's sampling and for ``random``.
    options
        Fields of the knowledge base's YAML, for instance ``window=10``, and fields of the language model's YAML with
        the prefix ``llm_``, for instance ``llm_max_cost=5``.

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
        values: dict[str, Any] = {"organism": cells.organism, "context": cells.context, "answers": answers}
        values["aliases"] = cells.aliases
        if tfs in ("human", "mouse"):
            values["organism"] = tfs
        name = {None: "none", "curated": "human", "mouse": "human"}.get(tfs, tfs)
        kb = knowledge_base_named(str(name), options, llm=llm, values=values)
        return transcription_factors(cells, kb, seed=seed)
    matched = match_names(tfs, cells.genes, cells.organism if cells.aliases else None)
    named = set(matched.genes.values()) if cells.aliases else set(tfs) & set(cells.genes)
    if not named:
        raise UserError(f"tfs: none of the {len(tfs)} names is among the {len(cells.genes)} genes; check the symbols")
    logger.info("tfs: %s", matched.report("TFs"))
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
    """Rank the transcription factors of each target gene, from the training cells or from gene names alone.

    Parameters
    ----------
    cells
        Cells of :func:`preprocess`. Only training cells are read; a language model and ``random`` read gene names only.
    tfs
        See :func:`transcription_factors`; None to choose the TFs from the network ranked over all genes.
    inferer
        Name of a YAML file in ``conf/inferer`` (``grnboost2``, ``llm``, ``consensus``, ``genie3``, ``correlation``,
        ``pidc``, ``random``, ...), or an :class:`~llm4grn.inference.base.Inferer`. The controls ``shuffled`` and
        ``popular`` take another one as an option: ``inferer="shuffled", of="grnboost2"``.
    llm
        A language model of ``conf/llm``, for the inferers that ask one, see :func:`transcription_factors`.
    k
        Number of regulators per target that a language model is asked for; other inferers rank all TFs.
    answers
        SQLite file that stores every answer, so that no question is paid for twice; None stores none.
    store
        Folder of finished stages, from which a repeated call reads the network; None keeps nothing.
    seed
        Seed for the inference.
    options
        Fields of the inferer's YAML, for instance ``n_seeds=10``, and fields of the language model's YAML with the
        prefix ``llm_``, for instance ``llm_max_cost=5``.

    Returns
    -------
    GRN
        Ranked edges with the genes and TFs, so that ``grn.top(k)`` needs no further arguments.

    Raises
    ------
    UserError
        If an option does not exist, there are fewer TFs than ``k``, or the inferer rejects its input.

    Examples
    --------
    >>> import llm4grn as lg
    >>> cells = lg.preprocess(lg.datasets.pbmc3k())
    >>> grn = lg.infer_grn(cells, tfs="human", inferer="llm", llm="shipped")
    >>> grn.top(10).n_edges
    8000
    """
    values = {"organism": cells.organism, "context": cells.context, "k": k, "answers": answers}
    of_llm = {option: value for option, value in options.items() if option.startswith("llm_")}
    if isinstance(inferer, Inferer):
        if surplus := sorted(options.keys() - of_llm.keys()):
            raise UserError(f"{surplus[0]}: an inferer that is an object has its options already")
        method = inferer
    else:
        method = inferer_named(inferer, options, llm=llm, values=values)
    known = None
    if tfs is not None and not isinstance(tfs, NoPriorList):
        known = transcription_factors(cells, tfs, llm=llm, answers=answers, seed=seed, **of_llm)
    if known is not None and k > len(known.names):
        raise UserError(f"k={k}: there are only {len(known.names)} TFs among the genes; choose k={len(known.names)}")
    names = None if known is None else known.names

    if store is None:
        grn = _infer(method, cells, names, seed)
    else:
        grn = _read_or_infer(method, cells, names, seed, Store(Path(store)))
    if known is None:
        known = (tfs if isinstance(tfs, NoPriorList) else NoPriorList(k=k)).select(grn, cells.genes)
    return dataclasses.replace(grn, genes=cells.genes, tf_names=known.names)


def adjacencies(
    expression: AnnData | str | Path,
    tfs: str | Path | Sequence[str],
    inferer: GRNBoost2 | GENIE3 | None = None,
    *,
    layer: str | None = None,
    seed: int = 0,
) -> GRN:
    """Rank the transcription factors of every gene, the TFs among them: the first step of SCENIC.

    Unlike :func:`infer_grn`, it selects no genes and holds no cells out, and takes normalised values too.
    ``grn.write("adjacencies.tsv")`` writes a table that ``pyscenic ctx`` reads.

    Parameters
    ----------
    expression
        Cells x genes, or a file or folder of any format that ``dataset=file`` reads.
    tfs
        Names; a file of them; or ``human`` or ``mouse`` for the shipped list. They are matched by case and former
        symbols too, and one line of the log says what became of them.
    inferer
        With its options, for instance ``GRNBoost2(n_seeds=10)``; None for GRNBoost2 on all cores.
    layer
        Layer of the expression; None for ``X``.
    seed
        Seed for the inference.

    Raises
    ------
    UserError
        If no gene is a TF, or the expression cannot be used.

    Examples
    --------
    >>> import llm4grn as lg
    >>> cells = lg.datasets.pbmc68k_reduced()[:, 200:260].copy()
    >>> sorted(set(lg.adjacencies(cells, ["IRF1", "EGR1", "SOX4"]).table["TF"]))
    ['EGR1', 'IRF1', 'SOX4']
    """
    if isinstance(expression, str | Path):
        adata = CellFile(str(expression), layer=layer).expression()
    else:
        adata = chosen_expression(expression, "expression", CellChoice(layer=layer))
    genes = list(adata.var_names)
    if isinstance(tfs, str | Path):
        names = tfs_among(genes, tfs)
    else:
        matched = match_names(tfs, genes, likely_organism(genes))
        if not matched.genes:
            raise UserError(f"tfs: none of the {len(tfs)} names is among the {len(genes)} genes; check the symbols")
        logger.info("tfs: %s", matched.report("TFs"))
        names = sorted(set(matched.genes.values()))
    method = inferer or GRNBoost2()
    return method.rank(Expression.of(adata, names, type(method).__name__, every_gene=True), seed)


def _infer(method: Inferer, cells: SplitCells, tfs: Sequence[str] | None, seed: int) -> GRN:
    return method.infer(cells.train if method.uses_expression else names_only(cells.adata), tfs, seed)


def _read_or_infer(method: Inferer, cells: SplitCells, tfs: Sequence[str] | None, seed: int, store: Store) -> GRN:
    """Return the network from the store; members of a combining inferer are stages of their own, as in a pipeline."""

    def build(folder: Path) -> None:
        if isinstance(method, CombiningInferer):
            networks = {name: _read_or_infer(of, cells, tfs, seed, store) for name, of in method.members.items()}
            grn = method.combine(networks, cells.genes, tfs, seed)
        else:
            grn = _infer(method, cells, tfs, seed)
        grn.write(folder / "grn.tsv")

    return GRN.read(store.get_or_run(_stage(method, cells, tfs, seed), build) / "grn.tsv")


def _stage(method: Inferer, cells: SplitCells, tfs: Sequence[str] | None, seed: int) -> Stage:
    members = method.members if isinstance(method, CombiningInferer) else {}
    inputs = {f"member {name}": _stage(of, cells, tfs, seed) for name, of in members.items()}
    args = {"inferer": describe(method), "seed": seed, "tfs": tfs}
    return Stage("grn", 1, args, {"cells": cells.fingerprint, **inputs})
