"""Makes ``recorded_pbmc3k.jsonl``: ``python tests/llm/record.py``.

The answers are made by the rule of the test server (``pick`` in ``server.py``: names drawn by a hash), not by a
language model: they say nothing about biology. What is recorded are the questions of ``kb=human inferer=llm`` and of
``kb=llm inferer=llm`` with the options in ``SETTING``; with other options the questions are others.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from server import running_server

from llm4grn.llm.answers_cache.cache import AnswerCache
from llm4grn.llm.answers_cache.jsonl import write_jsonl

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(__file__).with_name("recorded_pbmc3k.jsonl")
# Small splits, which are drawn and scored quickly; 84 of the 100 genes are expressed in all of them.
SETTING = [
    "dataset=pbmc3k",
    "dataset.preprocessing.n_genes=100",
    "dataset.preprocessing.selection=dispersion",
    "dataset.preprocessing.n_tfs=0",
    "dataset.preprocessing.n_test=60",
    "dataset.preprocessing.n_validation=60",
    "graph.k=2",
    "llm.prompts=cot_context_v1",
]


def record(path: Path) -> int:
    """Write the answers to ``path``; their number."""
    with tempfile.TemporaryDirectory() as folder, running_server(k=2) as server:
        llm = ["llm=openai_compatible", "llm.model=test-model", f"llm.base_url={server.url}"]
        for kb in "human", "llm":
            command = [sys.executable, str(ROOT / "infer_grn.py"), *SETTING, *llm, f"kb={kb}", "inferer=llm"]
            subprocess.run(command, cwd=folder, check=True)
        with AnswerCache(Path(folder) / "outputs" / "answers.sqlite") as cache:
            return write_jsonl(path, cache.records())


if __name__ == "__main__":
    print(f"{record(RECORDED)} answers, {RECORDED.stat().st_size / 1000:.0f} kB: {RECORDED.name}")
