"""Signs all the way: a live model is asked by ``infer_grn.py``, and its answers are there when one asks why."""

import json

import networkx as nx
import pandas as pd
import pytest
from server import running_server
from tiny import config, options, write_counts

from llm4grn.cli.grn import main
from llm4grn.cli.infer_grn import infer_grn
from llm4grn.grn import GRN

OF_TRAINING = "model.", "evaluation.", "logger=", "trainer=", "inferer="


@pytest.mark.slow
def test_signs_reach_every_table_and_the_evidence(tmp_path, capsys):
    counts = write_counts(tmp_path / "counts.h5ad")
    (tmp_path / "curated.tsv").write_text("TF\ttarget\tsign\nCEBPA\tTARGET0\t1\nGATA1\tTARGET0\t1\nIRF8\tTARGET1\t1\n")
    shared = [option for option in options(counts, tmp_path / "outputs") if not option.startswith(OF_TRAINING)]
    with running_server(brain="signed", k=2) as server:
        live = ["llm=openai_compatible", f"llm.base_url={server.url}", "llm.model=test-model"]
        more = ["inferer=llm", "llm.prompts=cot_context_signs", f"reference={tmp_path}/curated.tsv"]
        answers = f"paths.answers={tmp_path}/answers.sqlite"
        folder = infer_grn(config(*shared, *live, *more, answers, name="infer_grn"))
    out = capsys.readouterr().out
    assert "Signs: 50 of 50 edges have one, 50.0 % repression" in out
    assert "edges with a sign: repression                              25" in out
    (line,) = (line for line in out.splitlines() if line.startswith(f"  {tmp_path}/curated.tsv"))
    assert line.split()[1:6] == ["2", "edges", "to", "compare", "50.0"]
    grn = GRN.read(folder / "grn.tsv")
    assert (grn.signs["CEBPA", "TARGET0"], grn.signs["GATA1", "TARGET0"]) == (1, -1)
    assert nx.read_graphml(folder / "graph.graphml").edges["GATA1", "TARGET0"]["sign"] == -1
    assert pd.read_csv(next(folder.glob("calibration_*.tsv")), sep="\t")["confirmed"].sum() == 3
    assert json.loads((folder / "stages.json").read_text()).keys() == {"data", "tfs", "grn", "graph"}

    store = f"store={tmp_path}/outputs/store"
    main(["why", "GATA1", "TARGET0", f"run={folder}", store, f"reference={tmp_path}/curated.tsv"])
    why = capsys.readouterr().out
    for words in "rank 2 of 2, importance 1.25, represses, imposed", "has it, activates":
        assert words in why
    assert "correlation " in why
    assert "within cell types" not in why.replace("the same within cell types", "")  # the types are not known
