"""``llm4grn adjacencies``: SCENIC's first step, from expression and a list of TFs to the file of ``pyscenic grn``."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.cli.errors import one_line_errors
from llm4grn.cli.logs import set_up_logging
from llm4grn.data.users_files import CellFile
from llm4grn.errors import UserError
from llm4grn.inference.genie3 import GENIE3
from llm4grn.inference.grnboost2 import GRNBoost2
from llm4grn.knowledge.curated import listed, tfs_among

if TYPE_CHECKING:
    from llm4grn.inference.expression import Expression

_ENDINGS = (".tsv", ".csv", ".tsv.gz", ".csv.gz")
_READ_BY_CTX = (".loom", ".h5ad", ".tsv", ".csv")
_DESCRIPTION = """\
A drop-in for `pyscenic grn`: which transcription factors each gene's expression follows. Every gene is a target, the
TFs among them; no gene is selected, and no cell is left out. GRNBoost2 runs on the engine of this package, which gives
what arboreto gives up to its random numbers, a hundred times as fast and more (docs/howto/scenic.md).
"""
_EPILOG = """\
examples:
  llm4grn adjacencies cells.loom allTFs_hg38.txt -o adjacencies.tsv
  llm4grn adjacencies cells.h5ad human --n-seeds 10
  llm4grn adjacencies cells.h5ad tfs.txt --dask tcp://scheduler:8786

then, in the environment of pySCENIC:
  pyscenic ctx adjacencies.tsv DATABASE.feather --annotations_fname MOTIFS.tbl \\
      --expression_mtx_fname cells.loom --output regulons.csv

Counts and normalised values are both used as they are, and one line says which they look like. Names of TFs are
matched by case and former symbols too, and one line says what became of them. Rows: TF, target, importance, the
highest importance first. The same seed gives the same file, byte for byte, on any number of workers.
"""
#: What messages of other commands call the arguments of this one; longer texts are replaced before shorter ones.
_WORDS = {
    "add dataset=file and give the matrix": "give the matrix",
    "dataset.path": "EXPRESSION",
    "dataset.layer": "--layer",
    "dataset.gene_names": "--gene-names",
    "dataset.subset": "--subset",
    "dataset.genes_in": "--genes-in",
    "raise dataset.preprocessing.min_genes": "leave out cells with few genes",
    "check dataset.organism": "give a list of the cells' organism",
    "set dataset.organism to the organism of the data, or kb.path to a list of its TFs": "give a list of its TFs",
    "kb.path": "TF_LIST",
    "inferer.n_jobs": "--workers",
    "inferer.n_seeds": "--n-seeds",
    "inferer.scheduler": "--dask",
    "inferer.backend=dask": "--dask",
    "or null for a cluster": "or local for a cluster",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a UserError ends it with one line on stderr and exit status 2."""
    args = _parser().parse_args(arguments)
    set_up_logging(_reworded)
    with one_line_errors(interrupted="interrupted; nothing was written", reworded=_reworded):
        _run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "llm4grn adjacencies",
        usage="llm4grn adjacencies EXPRESSION TF_LIST [-o adjacencies.tsv] [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("expression", metavar="EXPRESSION", help=".h5ad, .loom, 10x .h5 or folder, .h5mu, .zarr, table of text (.gz)")
    add("tf_list", metavar="TF_LIST", help="file of transcription factors; or human, mouse: the list of the package")
    add("-o", "--output", type=Path, default=Path("adjacencies.tsv"), help="file to write (default: %(default)s)")
    add("-m", "--method", choices=["grnboost2", "genie3"], default="grnboost2", help="default: %(default)s")
    add("--seed", type=int, default=0, help="seed of the random draws (default: %(default)s)")
    add("--n-seeds", type=int, default=1, metavar="N", help="combine the networks of N seeds (default: %(default)s)")
    add("--workers", type=int, default=-1, metavar="N", help="threads or processes (default: one for each core)")
    add("--dask", metavar="ADDRESS", help="run on a dask cluster, tcp://host:port; local: WORKERS processes here")
    add("--layer", help="layer of the expression; raw means adata.raw (default: X)")
    add("--gene-names", metavar="COLUMN", help="column of var with the genes' names; index keeps the index")
    add("--subset", metavar="QUERY", help="cells to use, a pandas query on obs such as \"cell_type == 'B'\"")
    add("--genes-in", choices=["auto", "rows", "columns"], default="auto", help="where a table of text has its genes")
    return parser


def _run(args: argparse.Namespace) -> None:
    from llm4grn.grn.exports import write_adjacencies

    method = _method(args)
    source = CellFile(
        args.expression,
        layer=args.layer,
        gene_names=args.gene_names,
        subset=args.subset,
        genes_in=args.genes_in,
    )
    _check_output(args.output, source.file)
    source.prepare()
    listed(args.tf_list)  # a list that cannot be read is refused before the cells are read
    if isinstance(method, GRNBoost2) and method.scheduler is not None:
        from llm4grn.inference.boosting.dask import check_scheduler

        check_scheduler(method.scheduler)
    grn = method.rank(_expression(source, args.tf_list, type(method).__name__), args.seed)
    write_adjacencies(grn, args.output)
    n_tfs, n_targets = grn.edges["TF"].nunique(), grn.edges["target"].nunique()
    print(f"{len(grn.edges)} edges from {n_tfs} TFs to {n_targets} targets written to {args.output}")
    matrix = args.expression if args.expression.endswith(_READ_BY_CTX) else "EXPRESSION.loom"
    print(
        f"next: pyscenic ctx {shlex.quote(str(args.output))} DATABASE.feather --annotations_fname MOTIFS.tbl "
        f"--expression_mtx_fname {shlex.quote(matrix)} --output regulons.csv"
    )


def _method(args: argparse.Namespace) -> GRNBoost2 | GENIE3:
    if args.method == "genie3":
        if args.n_seeds != 1 or args.dask is not None:
            raise UserError("--n-seeds and --dask are for --method grnboost2; leave them out")
        return GENIE3(n_jobs=args.workers)
    if args.dask is None:
        return GRNBoost2(n_jobs=args.workers, n_seeds=args.n_seeds)
    scheduler = None if args.dask == "local" else args.dask
    return GRNBoost2(n_jobs=args.workers, n_seeds=args.n_seeds, backend="dask", scheduler=scheduler)


def _check_output(path: Path, source: Path) -> None:
    """Raise UserError for a file that cannot be written, or that ``pyscenic ctx`` would not read."""
    if not path.name.endswith(_ENDINGS):
        raise UserError(f"--output={path}: pyscenic ctx reads {', '.join(_ENDINGS)}; name it so")
    if path.is_dir() or path.resolve() == source.resolve():
        raise UserError(f"--output={path}: that is {'a folder' if path.is_dir() else 'the expression'}; name a file")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"--output={path}: nothing can be written to {folder}; choose another folder")


def _expression(source: CellFile, tf_list: str, method: str) -> Expression:
    """Return the expression of all genes that vary; what the file holds besides is freed."""
    from llm4grn.inference.expression import Expression

    adata = source.expression()
    tfs = tfs_among(list(adata.var_names), tf_list)
    return Expression.of(adata, tfs, method, every_gene=True)


def _reworded(line: str) -> str:
    longest_first = sorted(_WORDS, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda match: _WORDS[match[0]], line)
