"""Tables of edges as the tools of the field write them, read under the columns TF, target, importance and sign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llm4grn.data.names import match_names
from llm4grn.data.text_tables import read_text, split_rows
from llm4grn.errors import UserError
from llm4grn.grn.signs import sign_of

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
    *("genename", "tg", "targets", "targetgenes"),
)
_IMPORTANCE = (
    *("importance", "edgeweight", "weight", "coefmean", "coef", "score", "mor", "strength", "confidencescore"),
    "combinedscore",
)
_SIGN = ("sign", "mode", "effect", "regulation", "interaction", "mor", "type")
_STIMULATION = ("consensusstimulation", "isstimulation")
_INHIBITION = ("consensusinhibition", "isinhibition")
_ROLES = {"TF": _TF, "target": _TARGET}
_REGULON = re.compile(r"(.+?)(?:[ _]?\(([+-])\)|[ _]?\((\d+)g\)|[ _](?:regulon|targets|extended))+", re.IGNORECASE)
_NOT_EDGES = re.compile(r"[{\[<]|version https://git-lfs|%%MatrixMarket")
_SYMBOL = re.compile(r"[A-Za-z][\w.@-]*")
_RELATIONS = {"pd", "pp", "pr", "tf", "regulates", "binds", "targets", "interacts", "interacts-with"}
_RELATIONS |= {"controls-expression-of", "controls", "transcription", "associates", "dir", "gg"}
_NAMELESS = ["", "nan", "NaN", "<NA>", "None"]
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
    n_listed
        Number of rows that name several targets, each of which is an edge.
    contradicting
        Number of edges whose rows have opposite signs, so that theirs is not known.
    no_signs
        Words in the column of signs that are none, and count as not known.
    unused
        Columns with numbers that are not known to be importances.
    """

    edges: pd.DataFrame
    n_rows: int
    nameless: int = 0
    self_loops: int = 0
    repeated: int = 0
    signed: bool = False
    n_levels: int = 2
    n_listed: int = 0
    contradicting: int = 0
    no_signs: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

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
        if self.n_listed:
            parts.append(f"{self.n_listed} rows list several targets, each of which is an edge")
        if self.contradicting:
            parts.append(f"{self.contradicting} edges have opposite signs in several rows, and count as without one")
        if self.no_signs:
            parts.append(f"{', '.join(self.no_signs[:3])} among the signs is not known, and counts as no sign")
        if self.signed:
            parts.append("importances are signed, so edges are ranked by their size")
        if self.n_levels == 1 and len(self.edges) > 1:
            also = f" (the column {', '.join(self.unused)} is not used; call the one to rank by importance)"
            parts.append(
                f"all importances are equal{also if self.unused else ''}, so the ranking is by name and means nothing"
            )
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
    name = Path(path).name.casefold().removesuffix(".gz")
    return read_edges(lines, as_gmt=name.endswith(".gmt"), as_sif=name.endswith(".sif"))


def read_edges(lines: Sequence[str], *, as_gmt: bool = False, as_sif: bool = False) -> EdgeTable:
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
    as_sif
        True if each line is a TF, a relation, and one or more targets.

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
    lines = [line for line in lines if re.sub(r"[\s,;|]", "", line) and not line.lstrip().startswith("#")]
    if not lines:
        raise UserError("empty")
    if match := _NOT_EDGES.match(lines[0].lstrip()):
        raise UserError(f"begins with {match[0]!r}, so it is no table of edges")
    if as_gmt:
        return _checked(_from_gmt([line.split("\t") for line in lines]))
    if as_sif:
        rows = [line.split("\t" if "\t" in lines[0] else None) for line in lines]
        edges = [[row[0], row[1], target] for row in rows for target in row[2:] if target]
        return table_of_edges(["TF", "relation", "target"], edges)
    rows, _ = split_rows(lines)
    if len(rows) > 1 and not any(row[-1] for row in rows[1:] if len(row) == len(rows[0]) + 1):
        rows = [row[: len(rows[0])] if not any(row[len(rows[0]) :]) else row for row in rows]  # a separator at the end
    header, body = _header_and_body(rows)
    if not body:
        raise UserError("no edges below the header")
    if "geneshortname" in map(_plain, header):
        return _checked(_from_base_grn(header, body))
    width = len(header)
    ragged = next((number for number, row in enumerate(body, len(rows) - len(body) + 1) if len(row) != width), 0)
    if ragged:
        raise UserError(f"row {ragged} does not have {width} fields")
    return table_of_edges(header, body)


def table_of_edges(header: Sequence[str], body: Sequence[Sequence[str]], *, lists: bool = True) -> EdgeTable:
    """Return the edges of a table by the names of its columns, see :func:`read_edges`.

    Parameters
    ----------
    header, body
        Names of the columns, and the rows.
    lists
        Whether a target may be a list of several.

    Raises
    ------
    UserError
        If there are no edges, columns are missing, or an importance is not a number.
    """
    body, n_listed = _each_target(header, body) if lists else (body, 0)
    table, no_signs = _named(list(header), body)
    for end in "TF", "target":
        if all(map(_is_number, table[end])) and not table[end].str.fullmatch("[1-9][0-9]*").all():  # Entrez ids
            raise UserError(f"the names in its column {end} are numbers; give symbols of genes")
    unused = () if "importance" in table else _columns_of_numbers(header, body)
    return replace(_checked(table), n_listed=n_listed, no_signs=no_signs, unused=unused)


def _each_target(header: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[Sequence[Sequence[str]], int]:
    """Return one row for each target where rows list several, and the number of such rows."""
    names = [_plain(name) for name in header]
    at = next((names.index(name) for name in _TARGET if name in names), None)
    if at is None or not any(";" in row[at] or "," in row[at] for row in body):
        return body, 0
    rows, n_listed = [], 0
    for row in body:
        targets = [target for target in re.split(r"\s*[;,]\s*", row[at]) if target]
        if len(targets) > 1 and all(map(_SYMBOL.fullmatch, targets)):
            n_listed += 1
            rows += [[*row[:at], target, *row[at + 1 :]] for target in targets]
        else:
            rows.append(list(row))
    return rows, n_listed


def _columns_of_numbers(header: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the names of the columns with numbers that are not known to be importances."""
    used = {*_TF, *_TARGET, *_SIGN, *_STIMULATION, *_INHIBITION, ""}
    others = [(i, title) for i, title in enumerate(header) if _plain(title) not in used]
    return tuple(title for i, title in others if all(_is_number(row[i]) for row in body))


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
    if len(header) in (2, 3) and all(_is_number(name) for row in rows for name in row[:2]):
        raise UserError("its names are numbers; give symbols of genes")
    if len(header) == 3 and _is_number(header[2]):
        return ["TF", "target", "importance"], rows
    middle = {row[1] for row in rows if len(row) > 2}
    if len(header) == 3 and _are_signs(list(middle)):
        return ["TF", "sign", "target"], rows  # SIF
    if len(header) == 3 and len(rows) > 1 and middle <= _RELATIONS:
        return ["TF", "relation", "target"], rows  # SIF, of one relation such as pd
    if len(header) in (3, 4) and (_are_signs(third) or (len(header) == 4 and set(third) == {"Unknown"})):
        return ["TF", "target", "sign", "source"][: len(header)], rows  # TRRUST
    missing = _missing_roles(names)
    if len(header) == 2 and len(missing) == 2 and all(len(row) == 2 for row in rows):
        return ["TF", "target"], rows
    values = [_is_number(value) for row in rows[1:] for value in row[1:]]
    if len(missing) == 2 and values and all(values) and not _is_number(rows[1][0]):
        raise UserError("a matrix of weights, which does not say whether its rows are TFs; write one row per edge")
    raise _lacks(missing, header)


def _missing_roles(names: Sequence[str]) -> list[str]:
    return [role for role, known in _ROLES.items() if not any(name in known for name in names)]


def _lacks(roles: Sequence[str], header: Sequence[str]) -> UserError:
    return UserError(f"edges without the column {', '.join(roles)} among {', '.join(header[:6])}")


def _named(header: list[str], body: Sequence[Sequence[str]]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the columns by role as text, so that a gene called NA is not read as a missing value.

    Also the words among the signs that are none.
    """
    import pandas as pd

    table = pd.DataFrame(list(body), columns=range(len(header)), dtype=str)
    names = [_plain(name) for name in header]
    if missing := _missing_roles(names):
        raise _lacks(missing, header)
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
    sign, no_signs = _sign(table, names)
    if sign is not None:
        edges["sign"] = sign
    rest = [i for i, name in enumerate(header) if name == "importance_std" or name.startswith("rank_")]
    return edges.assign(**{header[i]: table[i] for i in rest}), no_signs


def _sign(table: pd.DataFrame, names: list[str]) -> tuple[pd.Series | None, tuple[str, ...]]:
    """Return 1, -1 or 0 for each row, from a column of words or numbers or from two of flags; None without any.

    Also the words in the column that are no signs.
    """
    flags = [
        next((names.index(name) for name in known if name in names), None) for known in (_STIMULATION, _INHIBITION)
    ]
    if all(at is not None for at in flags):
        up, down = (table[at].str.casefold().isin(_TRUE).astype(int) for at in flags)
        return up - down, ()
    for name in _SIGN:
        if name not in names:
            continue
        words = table[names.index(name)]
        signs = {word: sign_of(word) for word in words.unique()}
        strange = tuple(word for word, sign in signs.items() if sign is None)
        if strange and name == "sign":
            raise UserError(
                f"column sign holds '{strange[0]}'; expected 1 (activation), -1 (repression) or 0 (unknown), or remove "
                "it"
            )
        # In a column of another name a few words may be none; a column of weights has signs only if all are.
        if any(signs.values()) and words.isin(strange).mean() <= (0.0 if name == "mor" else 0.5):
            return words.map(signs).fillna(0).astype(int), strange
    return None, ()


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
             if _binds(value)]  # fmt: skip
    if not binds:
        raise UserError("no edges: no TF binds in this base GRN")
    return pd.DataFrame([(tf, target) for target, tf in dict.fromkeys(binds)], columns=["TF", "target"])


def _binds(value: str) -> bool:
    if value.casefold() in ("", "false", "no", "na", "none", "<na>"):
        return False
    try:
        return abs(float(value)) > 0  # not so for nan
    except ValueError:
        return True


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
    named = ~(table["TF"].isin(_NAMELESS) | table["target"].isin(_NAMELESS))
    loops = named & (table["TF"] == table["target"])
    table = table[named & ~loops]
    # A stable sort: of equally strong rows, the first stays.
    strongest = table.sort_values("importance", ascending=False, kind="stable").drop_duplicates(["TF", "target"])
    kept = table.loc[table.index.isin(strongest.index)].reset_index(drop=True)
    n_contradicting = 0
    if "sign" in table:  # not known where rows of one edge contradict each other
        stated = table[table["sign"] != 0].groupby(["TF", "target"])["sign"].nunique()
        contradicted = kept.set_index(["TF", "target"]).index.isin(stated[stated > 1].index)
        kept, n_contradicting = kept.assign(sign=kept["sign"].where(~contradicted, 0)), int(contradicted.sum())
    if kept.empty:
        raise UserError("no edges: every row lacks a name or is of a gene that regulates itself")
    return EdgeTable(
        kept,
        n_rows,
        nameless=int((~named).sum()),
        self_loops=int(loops.sum()),
        repeated=len(table) - len(kept),
        signed=signed,
        contradicting=n_contradicting,
        n_levels=kept["importance"].nunique(),
    )


def _numbers(column: pd.Series) -> pd.Series:
    with_comma = column[column.str.contains(",", regex=False)]
    if len(with_comma) and not column.str.contains(".", regex=False).any():
        if with_comma.str.fullmatch(r"-?[1-9]\d{0,2}(,\d{3})+").all():
            raise UserError(
                f"importance {with_comma.iloc[0]} could be {with_comma.iloc[0].replace(',', '')} or "
                f"{with_comma.iloc[0].replace(',', '.', 1)}; write it with a point, or without separators of thousands"
            )
        column = column.str.replace(",", ".", regex=False)  # a decimal comma
    try:
        return column.astype("float64")
    except ValueError as error:
        row, value = next((i, x) for i, x in enumerate(column, 1) if "," in x or not _is_number(x))
        raise UserError(f"column importance holds {value!r} in edge {row}, which is not a number") from error


def _are_signs(values: Sequence[str]) -> bool:
    signs = [sign_of(value) for value in values]
    return any(signs) and None not in signs


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
