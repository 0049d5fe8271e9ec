"""A network inferred elsewhere, read from a table of edges."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from llm4grn.errors import UserError
from llm4grn.inference.base import Inferer, split_genes

if TYPE_CHECKING:
    import anndata

    from llm4grn.grn import GRN

logger = logging.getLogger("llm4grn")


@dataclass(frozen=True)
class FileGRN(Inferer):
    """Edges read from a file; those that do not join a TF and a target of the data set are dropped and counted.

    Parameters
    ----------
    path
        Tab- or comma-separated table that :meth:`llm4grn.grn.GRN.read` accepts. Pickled graphs are not read; convert
        them with ``python -m llm4grn.grn convert``.
    """

    uses_expression: ClassVar[bool] = False

    path: str = field(compare=False)  # the key holds the file's content, see fingerprint

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the file, as part of the stage's key.

        Raises
        ------
        UserError
            If the file cannot be read.
        """
        try:
            return {"sha256": hashlib.sha256(Path(self.path).read_bytes()).hexdigest()}
        except OSError as error:
            raise UserError(f"inferer.path={self.path}: cannot be read ({error.strerror}); set it to a file") from error

    def infer(self, adata: anndata.AnnData, tf_names: Sequence[str] | None, seed: int) -> GRN:
        """Read the edges; only the gene names of ``adata`` are used.

        Raises
        ------
        UserError
            If the file is not a table of edges, or none of them joins a TF and a target.
        """
        from llm4grn.grn import GRN

        tfs, targets = split_genes(list(adata.var_names), tf_names)
        grn = GRN.read(self.path)
        from_tf, onto_target = grn.edges["TF"].isin(tfs), grn.edges["target"].isin(targets)
        kept = from_tf & onto_target
        counts = {"edges": len(kept), "kept": int(kept.sum()), "from_no_tf": int((~from_tf).sum())}
        counts["onto_no_target"] = int((from_tf & ~onto_target).sum())
        report = (
            f"{self.path}: {counts['kept']} of {counts['edges']} edges are used; {counts['from_no_tf']} come from "
            f"genes that are no TFs here, {counts['onto_no_target']} more end in genes that are no targets here"
        )
        if not kept.any():
            raise UserError(f"{report}; check that the file has the names of this data set's genes, or take another kb")
        logger.info(report)
        return GRN.from_edges(grn.edges[kept], {"method": "file", "file": grn.provenance, **counts})
