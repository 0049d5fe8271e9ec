"""Tables of edges as the tools of the field write them, read under the columns TF, target, importance and sign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.data.names import match_names
from llm4grn.data.text_tables import read_text, split_rows
from llm4grn.errors import UserError
from llm4grn.grn.signs import SIGNS

if TYPE_CHECKING:
    import pandas as pd

# Names of columns by role, the surest first; compared without blanks, marks and case. Those of symbols come before
# ``source`` and ``target``, in which OmniPath has protein ids.
_TF = (
    *("sourcegenesymbol", "tf", "gene1", "regulatorygene", "regulator", "tfname", "tfsymbol", "transcriptionfactor"),
    *("source", "from", "tfgene"),
)
_TARGET = (
    *("targetgenesymbol", "target", "gene2", "targetgene", "targetname", "targetsymbol", "to", "gene"),
    "genename",
)
_IMPORTANCE = (
    *("importance", "edgeweight", "weight", "coefmean", "coef", "score", "mor", "strength", "confidencescore"),
    "combinedscore",
)
_SIGN = ("sign", "mode", "effect", "regulation", "interaction", "mor", "type")
_STIMULATION = ("consensusstimulation", "isstimulation")
_INHIBITION = ("consensusinhibition", "isinhibition")
_ROLES = {"TF": _TF, "target": _TARGET}
_REGULON = re.compile(r"(.+?)[ _]?(?:\(([+-])\)|\((\d+)g\)|_regulon|_targets|_extended)+", re.IGNORECASE)
_TRUE = {"1", "1.0", "true", "yes"}
#: What a file of edges may look like, for messages.
EXPECTED = (
    "expected a text table with the columns TF, target, importance (arboreto, pySCENIC), Gene1, Gene2, EdgeWeight "
    "(BEELINE), regulatoryGene, targetGene, weight (GENIE3), source, target, weight (decoupler), or .gmt"
)


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """Edges read from a file, and what became of the rows that are not among them.

    Parameters
    ----------
    edges
        Columns ``TF``, ``target``, ``importance`` (at least 0) and, if the file gives any, ``sign`` (1, -1, or 0 where
        it is not known); further columns of the file follow, as text. In the order of the file.
    n_rows
        Number of rows in the file.
    nameless, self_loops, repeated
        Numbers of rows that were dropped: without a name; of a gene that regulates itself; weaker than another row of
        the same edge.
    signed
        True if importances were negative, so that the edges are ranked by size.
    n_levels
        Number of different importances; 1 if the file gives none.
    """

    edges: pd.DataFrame
    n_rows: int
    nameless: int = 0
    self_loops: int = 0
    repeated: int = 0
    signed: bool = False
    n_levels: int = 2

    def report(self) -> str | None:
        """Return one line on what was dropped or taken for granted; None if there is nothing to say."""
        parts = []
        for n, what in (
            (self.nameless, "without a gene name"),
            (self.self_loops, "of genes that regulate themselves"),
            (self.repeated, "that repeat an edge, of which the strongest is kept"),
        ):
            if n:
                parts.append(f"{n} rows {what} are dropped")
        if self.signed:
            parts.append("importances are signed, so edges are ranked by their size")
        if self.n_levels == 1 and len(self.edges) > 1:
            parts.append("all importances are equal, so the ranking is by name and means nothing")
        elif self.n_levels < len(self.edges) / 20:
            parts.append(f"there are only {self.n_levels} different importances, so ties are ranked by name")
        return f"{len(self.edges)} of {self.n_rows} edges are used; {'; '.join(parts)}" if parts else None


def read_edge_file(path: str | Path) -> EdgeTable:
    """Read the edges of a text file, which may be gzip-compressed; ``.gmt`` holds one TF and its targets per line.

    Raises
    ------
    UserError
        If the file cannot be read, or holds no edges. The message does not name the file.
    """
    lines = read_text(path).splitlines()
    name = Path(path).name.removesuffix(".gz")
    return read_edges(lines, as_gmt=name.casefold().endswith(".gmt"))


def read_edges(lines: Sequence[str], *, as_gmt: bool = False) -> EdgeTable:
    """Read the edges in lines of text.

    Known are the headers of arboreto, pySCENIC, BEELINE, GENIE3, decoupler (CollecTRI, DoRothEA), OmniPath and
    CellOracle (links and base GRN); tables without a header of two columns (TF, target), of three (with an importance,
    or a relation in the middle as in SIF), or of TRRUST; and gene sets (GMT). R's row names are skipped.

    Parameters
    ----------
    lines
        Lines of the file; those that begin with ``#`` are skipped.
    as_gmt
        True if each line is a TF, a description, and its targets.

    Raises
    ------
    UserError
        If there are no edges, a row has another number of fields, or an importance is not a number.

    Examples
    --------
    >>> table = read_edges(["SPI1\\tCD14\\tActivation\\t123", "SPI1\\tMPO\\tRepression\\t45"])
    >>> table.edges.values.tolist()
    [['SPI1', 'CD14', 1.0, 1], ['SPI1', 'MPO', 1.0, -1]]
    """
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    if not lines:
        raise UserError("empty")
    if as_gmt:
        return _checked(_from_gmt([line.split("\t") for line in lines]))
    rows, _ = split_rows(lines)
    header, body = _header_and_body(rows)
    if not body:
        raise UserError("no edges below the header")
    if "geneshortname" in map(_plain, header):
        return _checked(_from_base_grn(header, body))
    ragged = next((number for number, row in enumerate(body, len(rows) - len(body) + 1) if len(row) != len(header)), 0)
    if ragged:
        raise UserError(f"row {ragged} does not have {len(header)} fields")
    return _checked(_named(header, body))


def with_names_of(edges: pd.DataFrame, genes: Sequence[str], organism: str | None) -> tuple[pd.DataFrame, str]:
    """Rename the ends of edges to the genes that they stand for, and say so.

    Parameters
    ----------
    edges
        Columns ``TF`` and ``target``.
    genes
        Genes of the data set.
    organism
        Organism whose other symbols are known.

    Returns
    -------
    edges
        The same rows; names of no gene are unchanged.
    line
        What was matched by case or by another symbol, to be appended to a report; empty if nothing was.
    """
    matched = match_names([*edges["TF"], *edges["target"]], genes, organism)
    if not (matched.other_case or matched.other_symbol or matched.ambiguous):
        return edges, ""
    names = {name: matched.genes[name] for name in (*matched.other_case, *matched.other_symbol)}
    renamed = {end: [names.get(name, name) for name in edges[end]] for end in ("TF", "target")}
    return edges.assign(**renamed), f"; of its names, {matched.report('genes')}"


def _header_and_body(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    header = rows[0]
    names = [_plain(name) for name in header]
    if "geneshortname" in names:
        return header, rows[1:]
    if any(name in _TF for name in names) and any(name in _TARGET for name in names):
        if len(rows) > 1 and len(rows[1]) == len(header) + 1:  # R's row names have no header
            header = ["", *header]
        return header, rows[1:]
    third = [row[2] for row in rows if len(row) > 2]
    if len(header) == 3 and _is_number(header[2]):
        return ["TF", "target", "importance"], rows
    if len(header) == 3 and _are_signs([row[1] for row in rows if len(row) > 2]):
        return ["TF", "sign", "target"], rows  # SIF
    if len(header) in (3, 4) and _are_signs(third):
        return ["TF", "target", "sign", "source"][: len(header)], rows  # TRRUST
    missing = [role for role, known in _ROLES.items() if not any(name in known for name in names)]
    if len(header) == 2 and len(missing) == 2 and all(len(row) == 2 for row in rows):
        return ["TF", "target"], rows
    raise UserError(f"edges without the column {', '.join(missing)} among {', '.join(header[:6])}")


def _named(header: list[str], body: list[list[str]]) -> pd.DataFrame:
    """Return the columns by role as text, so that a gene called NA is not read as a missing value."""
    import pandas as pd

    table = pd.DataFrame(body, columns=range(len(header)), dtype=str)
    names = [_plain(name) for name in header]
    chosen: dict[str, int] = {}
    for role, known in _ROLES.items():
        at = [i for name in known for i, have in enumerate(names) if have == name]
        sure = [i for i in at if names[i] not in ("source", "from", "to", "gene", "genename")] or at
        if len(sure) > 1 and not names[sure[0]].endswith("genesymbol"):
            raise UserError(f"two columns could be {role}: {header[sure[0]]} and {header[sure[1]]}")
        chosen[role] = sure[0]
    importance = next((names.index(name) for name in _IMPORTANCE if name in names), None)
    edges = table[[chosen["TF"], chosen["target"]]].set_axis(["TF", "target"], axis=1)
    if importance is not None:
        edges["importance"] = table[importance]
    sign = _sign(table, names)
    if sign is not None:
        edges["sign"] = sign
    rest = [i for i, name in enumerate(header) if name == "importance_std" or name.startswith("rank_")]
    return edges.assign(**{header[i]: table[i] for i in rest})


def _sign(table: pd.DataFrame, names: list[str]) -> pd.Series | None:
    """Return 1, -1 or 0 for each row, from a column of words or numbers or from two of flags; None without any."""
    flags = [
        next((names.index(name) for name in known if name in names), None) for known in (_STIMULATION, _INHIBITION)
    ]
    if all(at is not None for at in flags):
        up, down = (table[at].str.casefold().isin(_TRUE).astype(int) for at in flags)
        return up - down
    if "sign" in names:
        values = table[names.index("sign")].tolist()
        if strange := [value for value in values if value.casefold() not in SIGNS]:
            raise UserError(
                f"column sign holds '{strange[0]}'; expected 1 (activation), -1 (repression) or 0 (unknown), or remove "
                "it"
            )
    for name in _SIGN:
        if name in names and _are_signs(table[names.index(name)].tolist()):
            return table[names.index(name)].str.casefold().map(SIGNS).astype(int)
    return None


def _from_gmt(rows: list[list[str]]) -> pd.DataFrame:
    import pandas as pd

    edges = []
    for name, *fields in rows:
        match = _REGULON.fullmatch(name.strip())
        tf, sign = (match[1], {"+": 1, "-": -1}.get(match[2] or "", 0)) if match else (name.strip(), 0)
        # A target can carry its weight behind a comma.
        targets = [target.strip().split(",") for target in fields[1:] if target.strip()]
        edges += [(tf, target, weight[0] if weight else "1", sign) for target, *weight in targets]
    if not edges:
        raise UserError("no gene sets: each line is a TF, a description and targets, separated by tabs")
    table = pd.DataFrame(edges, columns=["TF", "target", "importance", "sign"])
    return table if table["sign"].any() else table.drop(columns="sign")


def _from_base_grn(header: list[str], body: list[list[str]]) -> pd.DataFrame:
    """Return the edges of CellOracle's base GRN: a row per target, and a column per TF that is 1 where it binds."""
    import pandas as pd

    at = [_plain(name) for name in header].index("geneshortname")
    binds = [(row[at], tf) for row in body for tf, value in zip(header[at + 1 :], row[at + 1 :], strict=False)
             if value not in ("0", "0.0", "")]  # fmt: skip
    if not binds:
        raise UserError("no edges: no TF binds in this base GRN")
    return pd.DataFrame([(tf, target) for target, tf in dict.fromkeys(binds)], columns=["TF", "target"])


def _checked(table: pd.DataFrame) -> EdgeTable:
    """Convert importances to numbers, and drop and count rows that are no edges."""
    n_rows = len(table)
    if "importance" in table:
        table = table.assign(importance=_numbers(table["importance"]))
    else:
        table.insert(2, "importance", 1.0)
    signed = bool((table["importance"] < 0).any())
    if signed:
        if "sign" not in table:
            table.insert(3, "sign", (table["importance"] > 0).astype(int) - (table["importance"] < 0).astype(int))
        table = table.assign(importance=table["importance"].abs())
    named = (table["TF"] != "") & (table["target"] != "")
    loops = named & (table["TF"] == table["target"])
    table = table[named & ~loops]
    # A stable sort: of equally strong rows, the first stays.
    strongest = table.sort_values("importance", ascending=False, kind="stable").drop_duplicates(["TF", "target"])
    kept = table.loc[table.index.isin(strongest.index)].reset_index(drop=True)
    if "sign" in table:  # not known where rows of one edge contradict each other
        stated = table[table["sign"] != 0].groupby(["TF", "target"])["sign"].nunique()
        contradicted = kept.set_index(["TF", "target"]).index.isin(stated[stated > 1].index)
        kept = kept.assign(sign=kept["sign"].where(~contradicted, 0))
    if kept.empty:
        raise UserError("no edges: every row lacks a name or is of a gene that regulates itself")
    return EdgeTable(
        kept,
        n_rows,
        nameless=int((~named).sum()),
        self_loops=int(loops.sum()),
        repeated=len(table) - len(kept),
        signed=signed,
        n_levels=kept["importance"].nunique(),
    )


def _numbers(column: pd.Series) -> pd.Series:
    if column.str.fullmatch(r"-?\d*,\d+").any() and not column.str.contains(".", regex=False).any():
        column = column.str.replace(",", ".", regex=False)  # a decimal comma
    try:
        return column.astype("float64")
    except ValueError as error:
        raise UserError(f"column importance holds something that is not a number ({error})") from error


def _are_signs(values: Sequence[str]) -> bool:
    known = [value.casefold() in SIGNS for value in values]
    return bool(known) and all(known) and any(SIGNS[value.casefold()] for value in values)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
