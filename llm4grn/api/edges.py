"""Evidence for single edges of the networks of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm4grn.evaluation.graphs.edge_evidence import EdgeEvidence


def why(
    tf: str,
    target: str,
    runs: str | Path | Sequence[str | Path],
    *,
    reference: str | Path | None = None,
    data: str | Path = "data",
    store: str | Path | None = "outputs/store",
    answers: str | Path | None = None,
) -> EdgeEvidence:
    """Tell what finished runs know about the edge from ``tf`` to ``target``.

    Parameters
    ----------
    tf, target
        The edge, which no network needs to have.
    runs
        Folders of ``llm4grn train`` or ``llm4grn infer-grn`` on the same cells, or one folder.
    reference
        ``collectri``, ``truth`` (simulated data) or the path of a table; None to look nothing up.
    data, store
        Folders of downloaded data, for ``collectri``, and of finished stages, with the training cells.
    answers
        File of a language model's answers; None for that of each run. No model is asked.

    Returns
    -------
    EdgeEvidence
        Rank and importance in each network, the words of the language model, correlations in training cells, the
        reference's verdict, and the effect of a knock-out in the trained generator; ``text()`` shows it all.

    Raises
    ------
    UserError
        If a folder is not that of a run, a gene is not in them, or the reference cannot be read.
    """
    from llm4grn.evaluation.graphs.runs import read_graph_runs
    from llm4grn.evaluation.graphs.why import evidence
    from llm4grn.gan.knock_outs import knock_outs

    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(folder) for folder in runs]
    (found,) = evidence(
        read_graph_runs(folders, distinct=False),
        [(tf, target)],
        reference=reference,
        data=data,
        store=store,
        answers=answers,
        knock_outs=knock_outs,
    )
    return found
