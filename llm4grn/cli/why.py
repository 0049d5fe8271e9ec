"""``llm4grn grn why TF TARGET run=FOLDER``: everything that finished runs tell about one edge."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from llm4grn.errors import UserError

#: Option -> line in the help.
OPTIONS = {
    "run": "folder of train or infer-grn, or a pattern; several times for several networks",
    "reference": "collectri, truth, or a table of TFs and targets",
    "data": "folder of downloaded data (default: data)",
    "store": "folder of finished stages (default: outputs/store)",
    "answers": "file of a language model's answers (default: that of the run)",
}


def why_text(tf: str, target: str, words: Sequence[str]) -> str:
    """Return what is known about the edge; ``words`` are options as ``field=value``.

    Raises
    ------
    UserError
        If an option does not exist, no run is named, or a gene is not in the runs.
    """
    from llm4grn.evaluation.graphs.runs import read_graph_runs
    from llm4grn.evaluation.graphs.why import evidence
    from llm4grn.gan.knock_outs import knock_outs

    given: dict[str, list[str]] = {}
    for word in words:
        field, equals, value = word.partition("=")
        if not equals or field not in OPTIONS or not value:
            raise UserError(f"{word}: expected field=value; the fields are {', '.join(OPTIONS)}")
        given.setdefault(field, []).append(value)
    if twice := [field for field, values in given.items() if field != "run" and len(values) > 1]:
        raise UserError(f"{twice[0]}: given twice")
    options = {field: values[0] for field, values in given.items() if field not in ("run", "store")}
    runs = read_graph_runs(find_folders(given.get("run", [])), distinct=False)
    store = given.get("store", ["outputs/store"])[0]
    (edge,) = evidence(runs, [(tf, target)], store=store, knock_outs=knock_outs, **options)
    return edge.text()


def find_folders(patterns: Sequence[str]) -> list[Path]:
    """Return the folders that the patterns match, in order.

    Raises
    ------
    UserError
        If there is none.
    """
    if not patterns:
        raise UserError("run is not set; add run=FOLDER, a folder of llm4grn train or llm4grn infer-grn")
    folders = [Path(path) for pattern in patterns for path in sorted(glob(pattern)) or [pattern]]
    folders = [folder for folder in dict.fromkeys(folders) if (folder / "graph.json").is_file() or len(folders) == 1]
    if not folders:
        raise UserError(f"run={patterns[0]}: no folder of a run is there")
    return folders
