"""Compare and convert network files, and ask why an edge is there: ``python -m llm4grn.grn --help``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from llm4grn.cli.why import OPTIONS, why_text
from llm4grn.errors import UserError, WriteError
from llm4grn.grn import GRN
from llm4grn.grn.causal_graph import CausalGraph, overlap
from llm4grn.report.terminal import aligned

_OVERLAP = "overlap, the mean over shared targets of the Jaccard index of their TFs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one subcommand; a UserError ends it with one line on stderr and exit status 2."""
    parser = argparse.ArgumentParser("llm4grn grn", description="Gene regulatory networks in files.")
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser("compare", help="how much networks have in common")
    compare.add_argument(
        "networks", type=Path, nargs="+", help="ranked edges (.tsv, .csv), graph.json, or a run's folder"
    )
    compare.add_argument(
        "--k", type=int, default=10, help="of ranked edges, regulators per target (default: %(default)s)"
    )
    convert = commands.add_parser("convert", help="a network in another form; nothing in a pickle is executed")
    convert.add_argument(
        "network",
        type=Path,
        help="edges of any tool, or pickled: networkx.DiGraph, pandas.DataFrame, or dict of lists, sets or dicts",
    )
    convert.add_argument(
        "table",
        type=Path,
        help="file to write: .tsv or .csv (TF, target, importance), .decoupler.csv, .celloracle.csv (base GRN), "
        ".gmt (AUCell)",
    )
    convert.add_argument("--k", type=int, help="regulators per target that are kept, the best ones (default: all)")
    convert.add_argument("--keys", choices=["tf", "target"], help="what the keys of a dictionary are")
    why = commands.add_parser(
        "why",
        help="everything that finished runs tell about one edge",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="options:\n" + "\n".join(f"  {field + '=...':14} {line}" for field, line in OPTIONS.items()),
    )
    why.add_argument("tf", help="transcription factor")
    why.add_argument("target", help="target gene")
    why.add_argument("options", nargs="*", metavar="field=value", help="run=FOLDER and further options, see below")
    args = parser.parse_args(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        print(_answer(args))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, WriteError) else 2)


def _answer(args: argparse.Namespace) -> str:
    if args.command == "why":
        return why_text(args.tf, args.target, args.options)
    return _compare(args.networks, args.k) if args.command == "compare" else _convert(args)


def _convert(args: argparse.Namespace) -> str:
    from llm4grn.grn.exports import write_network
    from llm4grn.grn.pickled import read_pickled_graph

    grn = read_pickled_graph(args.network, args.keys) if _is_pickle(args.network) else GRN.read(args.network)
    if args.k is not None:
        if args.k < 1:
            raise UserError(f"--k={args.k}: expected a whole number, 1 or more")
        grn = GRN.from_edges(grn.edges.groupby("target", sort=False).head(args.k), grn.provenance)
    left_out = write_network(grn, args.table)
    n_tfs, n_targets = grn.edges["TF"].nunique(), grn.edges["target"].nunique()
    without = f", which holds no {' and no '.join(f'{column}s' for column in left_out)}" if left_out else ""
    return f"{len(grn.edges)} edges from {n_tfs} TFs to {n_targets} targets written to {args.table}{without}"


def _is_pickle(path: Path) -> bool:
    """Return True for a pickle of protocol 2 or newer, or a file that is named as one."""
    try:
        with path.open("rb") as file:
            return file.read(1) == b"\x80" or path.suffix in (".pkl", ".pickle")
    except OSError:
        return path.suffix in (".pkl", ".pickle")


def _compare(paths: Sequence[Path], k: int) -> str:
    if len(paths) < 2:
        raise UserError("compare: give at least two networks")
    if k < 1:
        raise UserError(f"--k={k}: expected a whole number, 1 or more")
    graphs = [read_regulators(path, k) for path in paths]
    legend = [f"{_letter(i)}  {path}" for i, path in enumerate(paths)]
    targets = [set(graph.regulators) for graph in graphs]
    if not any(a & b for a, b in combinations(targets, 2)):
        shown = "; ".join(f"{path}: {min(own, default='none')}" for path, own in zip(paths, targets, strict=True))
        raise UserError(f"compare: no two of these networks share a target ({shown}); give all the same names of genes")
    body = _pair_table(*graphs) if len(graphs) == 2 else _overlap_matrix(graphs)
    return "\n".join([*legend, "", body])


def read_regulators(path: Path, k: int) -> CausalGraph:
    """Read the regulators of each target: all those of a causal graph, or the ``k`` best of ranked edges.

    TFs that are ranked as targets are included, so the graph of a ranking without a list of TFs need not be valid.

    Parameters
    ----------
    path
        A table of edges, the JSON of a causal graph, or a folder with a ``graph.json``.
    k
        Number of regulators per target to take from a table of ranked edges.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    if path.is_dir() and not (path / "graph.json").is_file():
        raise UserError(f"{path} is a folder without graph.json; give a run's folder, or a file of edges")
    path = path / "graph.json" if path.is_dir() else path
    if path.suffix == ".json":
        return CausalGraph.from_json(path)
    best = GRN.read(path).regulators(k)
    return CausalGraph(tuple(sorted({*best, *(tf for tfs in best.values() for tf in tfs)})), best)


def _pair_table(a: CausalGraph, b: CausalGraph) -> str:
    others = b.parts()
    counts = [(name, len(part), len(others[name]), len(part & others[name])) for name, part in a.parts().items()]
    table = aligned([("", "A", "B", "shared"), *(tuple(map(str, row)) for row in counts)], rule=False)
    return f"{table}\n\n{_OVERLAP}: {overlap(a, b):.4f}"


def _overlap_matrix(graphs: Sequence[CausalGraph]) -> str:
    letters = [_letter(i) for i in range(len(graphs))]
    rows = [[letter, *(_overlap_text(a, b) for b in graphs)] for letter, a in zip(letters, graphs, strict=True)]
    return "\n".join([_OVERLAP, aligned([["", *letters], *rows], rule=False)])


def _overlap_text(a: CausalGraph, b: CausalGraph) -> str:
    shares_targets = any(target in b.regulators for target in a.regulators)
    return f"{overlap(a, b):.4f}" if shares_targets else "-"


def _letter(i: int) -> str:
    """Return the i-th of A, B, ..., Z, A1, B1, ..."""
    return chr(ord("A") + i % 26) + (str(i // 26) if i >= 26 else "")
