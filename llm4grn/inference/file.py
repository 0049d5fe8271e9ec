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
        Text file that :meth:`llm4grn.grn.GRN.read` accepts. Pickled graphs are not read; convert them with
        ``python -m llm4grn.grn convert``.
    organism
        ``human`` or ``mouse``, whose former symbols and aliases the file may use; else names are matched by name and
        case only, see :func:`~llm4grn.data.names.match_names`.
    """

    uses_expression: ClassVar[bool] = False

    path: str = field(compare=False)  # the key holds the file's content, see fingerprint
    organism: str | None = field(default=None, metadata={"optional": True})

    def fingerprint(self) -> dict[str, str]:
        """Return the SHA-256 of the file and the version of its reader, as part of the stage's key.

        Raises
        ------
        UserError
            If the file cannot be read.
        """
        try:
            content = Path(self.path).expanduser().read_bytes()
            return {"sha256": hashlib.sha256(content).hexdigest(), "reader": "2"}
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
        from llm4grn.grn.edge_tables import with_names_of

        tfs, targets = split_genes(list(adata.var_names), tf_names)
        grn = GRN.read(self.path)
        edges, line = with_names_of(grn.edges, list(adata.var_names), self.organism)
        from_tf, onto_target = edges["TF"].isin(tfs), edges["target"].isin(targets)
        kept = from_tf & onto_target & (edges["TF"] != edges["target"])
        counts = {"edges": len(kept), "kept": int(kept.sum()), "from_no_tf": int((~from_tf).sum())}
        counts["onto_no_target"] = int((from_tf & ~onto_target).sum())
        report = (
            f"{self.path}: {counts['kept']} of {counts['edges']} edges are used; {counts['from_no_tf']} come from "
            f"genes that are no TFs here, {counts['onto_no_target']} more end in genes that are no targets here"
            f"{line}"
        )
        used = edges[kept].drop_duplicates(["TF", "target"])  # two names of one gene: the strongest edge is first
        if len(used) < counts["kept"]:
            report += f"; {counts['kept'] - len(used)} repeat an edge under another name of a gene"
        if not kept.any():
            raise UserError(f"{report}; check that the file has the names of this data set's genes, or take another kb")
        logger.info(report)
        return GRN.from_edges(used, {"method": "file", "file": grn.provenance, **counts})
