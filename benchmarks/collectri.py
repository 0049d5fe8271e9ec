"""Score the network of every inferer on pbmc3k against the curated regulation of CollecTRI.

    python -m benchmarks.collectri --reference collectri_human.tsv.gz       three seeds; minutes, mostly for GENIE3
    python -m benchmarks.collectri --reference net.tsv --inferers correlation,random --seeds 1000

Each network is inferred by infer_grn.py with kb=human, which reuses its store, and scored by
``llm4grn.evaluation.graphs.reference_table``. The table is in Markdown with notes below it; the last line is JSON. A
bad score does not change the exit status: with few curated edges among these genes, a score at chance level is a
result.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from llm4grn.evaluation.graphs.reference_table import reference_table
from llm4grn.evaluation.graphs.runs import read_graph_runs
from llm4grn.report.blocks import Table

ROOT = Path(__file__).resolve().parents[1]
INFERERS = ("llm", "grnboost2", "consensus", "correlation", "genie3", "pidc", "random")
OPTIONS = {
    "llm": ["llm=shipped"],
    "consensus": ["llm=shipped"],
    "genie3": ["inferer.n_trees=20"],  # takes minutes; the default of 1000 takes fifty times as long
}


def infer(inferer: str, seed: int, outputs: str) -> Path:
    """Run infer_grn.py, which logs to stderr as usual, and return its folder."""
    command = [sys.executable, str(ROOT / "infer_grn.py"), "dataset=pbmc3k", "kb=human", f"inferer={inferer}"]
    command += [f"seed={seed}", f"paths.outputs={outputs}", f"paths.store={outputs}/store", *OPTIONS.get(inferer, [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"failed: {' '.join(command[1:])}")
    return Path(re.findall(r"^imposed graph\s+(\S.*)$", done.stdout, flags=re.MULTILINE)[-1]).parent


def markdown(table: Table) -> str:
    """Return the columns in which rows can differ as Markdown, with the notes below."""
    rows = [[cell if isinstance(cell, str) else cell.text for cell in row] for row in table.rows]
    shown = [i for i in range(len(table.header)) if i == 2 or len({row[i] for row in rows}) > 1]
    lines = [[table.header[i] for i in shown], ["---" if i < table.n_labels else "---:" for i in shown]]
    lines += [[row[i] for i in shown] for row in rows]
    same = [f"{table.header[i]}: {rows[0][i]}" for i in range(len(table.header)) if i not in shown]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", "; ".join(same), *table.notes])


def main(reference: str, inferers: Sequence[str], seeds: Sequence[int], outputs: str) -> None:
    folders = [infer(inferer, seed, outputs) for inferer in inferers for seed in seeds]
    table = reference_table(read_graph_runs(folders), reference)
    print(markdown(table))
    numbers = [
        {name: cell if isinstance(cell, str) else cell.value for name, cell in zip(table.header, row, strict=True)}
        for row in table.rows
    ]
    print(json.dumps({"benchmark": "collectri", "seeds": list(seeds), "options": OPTIONS, "rows": numbers}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--reference", required=True, help="table of TF and target; CollecTRI is not part of this project"
    )
    parser.add_argument("--inferers", type=lambda text: text.split(","), default=INFERERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1000, 2000, 3000])
    parser.add_argument("--outputs", help="folder to keep (and find again) the networks in; default: none is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        main(arguments.reference, arguments.inferers, arguments.seeds, arguments.outputs or scratch)
