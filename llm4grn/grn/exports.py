"""Write networks in the forms of other tools: pySCENIC, decoupler, CellOracle's base GRN, and GMT for AUCell."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from llm4grn.errors import UserError
from llm4grn.grn.network import COLUMNS, GRN
from llm4grn.store import atomic_write


def write_decoupler(grn: GRN, path: str | Path) -> Path:
    """Write the columns ``source``, ``target`` and ``weight``, which has the sign of the edge where one is known."""
    table = grn.edges.rename(columns={"TF": "source", "importance": "weight"})
    if "sign" in table:
        table = table.assign(weight=table["weight"].where(table["sign"] >= 0, -table["weight"]))
    with atomic_write(path) as temporary:
        table[["source", "target", "weight"]].to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)


def write_adjacencies(grn: GRN, path: str | Path) -> Path:
    """Write the columns TF, target and importance alone, as ``pyscenic grn`` does and ``pyscenic ctx`` reads them.

    Tab-separated, or by commas if the name has .csv; compressed if it ends in .gz. Equal networks give identical files.
    """
    separator = "," if ".csv" in Path(path).suffixes else "\t"
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        # Without name and time of the file in the header, which would differ.
        packed = gzip.GzipFile("", "wb", 6, file, mtime=0) if Path(path).suffix == ".gz" else nullcontext(file)
        with packed as target:
            grn.edges[COLUMNS].to_csv(target, sep=separator, index=False, lineterminator="\n")
    return Path(path)


def write_base_grn(grn: GRN, path: str | Path) -> Path:
    """Write CellOracle's base GRN: one row per target, and one column per TF that is 1 where it regulates the target.

    ``peak_id`` is the target too, as there are no peaks. In CellOracle: ``oracle.import_TF_data(
    TF_info_matrix=pandas.read_csv(path))``.
    """
    table = grn.edges.assign(one=1).pivot(index="target", columns="TF", values="one").fillna(0).astype(int)
    table.insert(0, "gene_short_name", table.index)
    table.insert(0, "peak_id", table.index)
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    return Path(path)


def write_gmt(grn: GRN, path: str | Path) -> Path:
    """Write one line per TF: its name, a description, and its targets, those of highest importance first.

    Where signs are known, activated and repressed targets are sets of their own, ``TF(+)`` and ``TF(-)``.
    """
    edges = grn.edges
    mark = edges["sign"].map({1: "(+)", -1: "(-)", 0: ""}) if "sign" in edges else ""
    sets = edges.assign(regulon=edges["TF"] + mark).groupby("regulon", sort=True)["target"].agg(list)
    lines = ["\t".join([str(tf), f"targets of {tf}", *targets]) for tf, targets in sets.items()]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Path(path)


def write_tsv(grn: GRN, path: str | Path) -> Path:
    """Write all columns, first ``TF``, ``target`` and ``importance``, with the provenance beside, see `GRN.write`."""
    grn.write(path)
    return Path(path)


#: Writer by the ending of the file, and the columns that its form does not hold; the first that fits is taken.
WRITERS: dict[str, tuple[Callable[[GRN, str | Path], Path], tuple[str, ...]]] = {
    ".decoupler.csv": (write_decoupler, ()),
    ".celloracle.csv": (write_base_grn, ("importance", "sign")),
    ".gmt": (write_gmt, ("importance",)),
    ".tsv.gz": (write_adjacencies, ("sign",)),
    ".csv.gz": (write_adjacencies, ("sign",)),
    ".csv": (write_adjacencies, ("sign",)),
    ".tsv": (write_tsv, ()),
    ".txt": (write_tsv, ()),
}


def write_network(grn: GRN, path: str | Path) -> list[str]:
    """Write a network in the form that the ending of the file asks for, see ``WRITERS``; return the columns left out.

    Raises
    ------
    UserError
        If the ending is none of these, or the path is a folder.
    """
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder; give the file to write in it")
    for ending, (write, without) in WRITERS.items():
        if str(path).endswith(ending):
            write(grn, path)
            return [column for column in without if column in grn.edges]
    raise UserError(f"{path}: its ending says no form; choose one of {', '.join(WRITERS)}")
