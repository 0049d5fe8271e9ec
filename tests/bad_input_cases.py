"""Mistakes that a user can make, each with its command line and the words that the message must contain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from bad_input_files import (
    BARCODES,
    COUNTS,
    GENES,
    NORMALISED,
    both,
    file,
    finished_run,
    h5ad,
    tenx,
    truncated,
    with_value,
)
from scipy.sparse import csr_matrix

SPLITS = ("dataset.preprocessing.n_test=10", "dataset.preprocessing.n_validation=10")
SMALL = (*SPLITS, "dataset.preprocessing.n_genes=40", "dataset.preprocessing.min_cells=5")
H5AD = ("dataset=h5ad", "dataset.path=counts.h5ad", *SMALL)
TENX = ("dataset=mtx", "dataset.path=tenx", *SMALL)
CLOSED = "http://127.0.0.1:9/demo_data.tar"  # the discard port, on which nothing listens


@dataclass(frozen=True)
class Case:
    """One mistake.

    Parameters
    ----------
    name
        Name in the table.
    arguments
        Arguments of the script, which runs in a folder that ``make`` has filled.
    says
        Texts that the message must contain: the file or field, and a word of the remedy.
    make
        Function that writes files into the folder; None if no file is needed.
    script
        ``train.py``, ``infer_grn.py`` or ``evaluate.py``.
    status
        Expected exit status; with 0, the message is a warning.
    """

    name: str
    arguments: Sequence[str]
    says: Sequence[str]
    make: Callable[[Path], None] | None = None
    script: str = "train.py"
    status: int = 2

    @property
    def command(self) -> list[str]:
        """Script and arguments, with ``logger=csv`` unless the case is about a logger."""
        logger = ["logger=csv"] if self.script == "train.py" and "logger" not in " ".join(self.arguments) else []
        return [self.script, *self.arguments, *logger]


MATRICES = [
    Case("negative counts", H5AD, ["counts.h5ad", "CELL7-1", "GATA1", "negative", "raw counts"], h5ad(with_value(-3))),
    Case("NaN", H5AD, ["counts.h5ad", "CELL7-1", "GATA1", "NaN", "repair"], h5ad(with_value(np.nan))),
    Case("infinite value", H5AD, ["counts.h5ad", "CELL7-1", "GATA1", "infinite", "repair"], h5ad(with_value(np.inf))),
    Case("normalised counts", H5AD, ["counts.h5ad", "normalised to 10000", "raw counts"], h5ad(NORMALISED)),
    Case("log-transformed counts", H5AD, ["counts.h5ad", "log1p", "raw counts"], h5ad(np.log1p(NORMALISED))),
    Case(
        "counts in a layer",
        H5AD,
        ["counts.h5ad", "set dataset.layer=raw_counts"],
        h5ad(np.log1p(NORMALISED), raw_counts=csr_matrix(COUNTS)),
    ),
    Case("duplicate gene names", H5AD, ["counts.h5ad", "FOS", "2 times", "rename"], h5ad(genes=["FOS", *GENES[1:]])),
    Case(
        "duplicate barcodes",
        H5AD,
        ["counts.h5ad", "CELL1-1", "2 times", "unique"],
        h5ad(barcodes=["CELL1-1", *BARCODES[1:]]),
    ),
    Case("empty matrix", H5AD, ["counts.h5ad", "empty", "60 cells x 40 genes", "give"], h5ad(0 * COUNTS)),
    Case("no cells", H5AD, ["counts.h5ad", "empty", "0 cells x 40 genes", "give"], h5ad(COUNTS[:0])),
    Case("too few cells for the splits", H5AD[:2], ["n_test=500", "n_validation=500", "60", "lower"], h5ad()),
    Case(
        "few cells to train on: goes on",
        [*H5AD[:2], *SPLITS, "inferer=random"],
        ["dataset.preprocessing.n_test=10", "40 cells are left to train on"],
        h5ad(),
        script="infer_grn.py",
        status=0,
    ),
    Case("genes of a mouse", H5AD, ["no TF", "dataset.organism"], h5ad(genes=[gene.capitalize() for gene in GENES])),
    Case("Ensembl ids", H5AD, ["no TF", "Ensembl", "symbols"], h5ad(genes=[f"ENSG{i:011d}" for i in range(40)])),
    Case("all genes are TFs", H5AD, ["all 12 genes are TFs", "kb.path"], h5ad(COUNTS[:, :12])),
]

FILES = [
    Case("text named .h5ad", H5AD, ["dataset.path", "counts.h5ad", "write_h5ad"], file("counts.h5ad", "gene,cell\n")),
    Case("truncated .h5ad", H5AD, ["dataset.path", "counts.h5ad", "cannot be read", "again"], truncated),
    Case("no such .h5ad", H5AD, ["dataset.path", "counts.h5ad", "no file", "give the path"]),
    Case("folder as .h5ad", [*H5AD[:1], "dataset.path=tenx"], ["dataset.path", "tenx", "dataset=mtx"], tenx()),
    Case("dataset.path not set", H5AD[:1], ["dataset.path", "not set", "add dataset.path="]),
    Case("dataset.path empty", [*H5AD[:1], "dataset.path="], ["dataset.path", "give"]),
    Case("no such layer", [*H5AD, "dataset.layer=spliced"], ["dataset.layer", "counts.h5ad", "spliced"], h5ad()),
    Case("no such column", [*H5AD, "dataset.cell_type_column=kind"], ["dataset.cell_type_column", "kind"], h5ad()),
    Case("10x: no barcodes", TENX, ["dataset.path", "tenx", "barcodes.tsv", "put"], tenx(leave_out="barcodes.tsv")),
    Case("10x: another's barcodes", TENX, ["matrix.mtx", "barcodes.tsv has 2"], tenx({"barcodes.tsv": "A-1\nB-1\n"})),
    Case(
        "10x: no MatrixMarket", TENX, ["dataset.path", "matrix.mtx", "MatrixMarket"], tenx({"matrix.mtx": "a,b\n1,2"})
    ),
    Case("10x: .h5ad given", [*TENX[:1], "dataset.path=counts.h5ad"], ["dataset.path", "dataset=h5ad"], h5ad()),
    Case(
        "annotations without columns",
        [*TENX, "dataset.annotations=types.tsv"],
        ["dataset.annotations", "types.tsv", "needs barcodes and celltype"],
        both(tenx(), file("types.tsv", "cell\ttype\nCELL0-1\tB\n")),
    ),
    Case("no such annotations", [*TENX, "dataset.annotations=types.tsv"], ["dataset.annotations", "types.tsv"], tenx()),
    Case(
        "paper's data without network",
        ["dataset=pbmc", f"+dataset.source.url={CLOSED}"],
        [CLOSED, "PBMC/matrix.mtx", "PBMC/barcodes.tsv", "PBMC/barcodes_annotations.tsv", "data by hand"],
    ),
    Case(
        "paper's archive is garbage",
        ["dataset=bone_marrow"],
        ["demo_data.tar", "not a whole tar archive", "delete"],
        file("data/demo_data.tar", b"\0garbage" * 1000),
    ),
    Case("paths.data in a file", ["dataset=pbmc", "paths.data=f/data"], ["paths.data", "f/data"], file("f", "")),
    Case("paths.store in a file", ["paths.store=f/store"], ["paths.store", "f/store", "writable"], file("f", "")),
    Case("paths.store empty", ["paths.store="], ["paths.store", "expected a folder"]),
    Case("paths.outputs in a file", ["paths.outputs=f/out"], ["paths.outputs", "f/out", "writable"], file("f", "")),
]

LISTS = [
    Case("no such TF list", ["kb.path=tfs.txt"], ["kb.path", "tfs.txt", "expected"]),
    Case("empty TF list", ["kb.path=tfs.txt"], ["kb.path", "tfs.txt", "no symbol", "expected"], file("tfs.txt", "")),
    Case("binary TF list", ["kb.path=tfs.txt"], ["kb.path", "tfs.txt", "text"], file("tfs.txt", bytes(range(256)))),
    Case(
        "TF table without symbols",
        ["kb.path=tf.csv"],
        ["kb.path", "tf.csv", "Symbol"],
        file("tf.csv", "Name,Id\nA,1\n"),
    ),
    Case("TF list named by digits", ["kb.path=2024"], ["kb.path=2024", "expected"]),
    Case("kb.list unknown", ["kb.list=aertslab"], ["kb.list=aertslab", "choose", "lambert2018", "scenic"]),
    Case(
        "kb.list with kb.path",
        ["kb.list=scenic", "kb.path=t.txt"],
        ["kb.list", "kb.path", "only one"],
        file("t.txt", "FOS"),
    ),
    Case("organism unknown", ["dataset.organism=yeast"], ["dataset.organism=yeast", "human and mouse", "kb.path"]),
    Case("kb.n=0", ["kb=random", "kb.n=0"], ["kb.n=0", "1 or more"]),
    Case("kb.n above the genes", [*H5AD, "kb=random", "kb.n=99"], ["kb.n=99", "40 genes", "choose"], h5ad()),
]

OPTIONS = [
    Case("dataset=foo", ["dataset=foo"], ["dataset=foo", "choose one of", "pbmc3k"]),
    Case("inferer=foo", ["inferer=foo"], ["inferer=foo", "choose one of", "grnboost2"], script="infer_grn.py"),
    Case("field unknown", ["grahp.k=3"], ["grahp.k", "no such", "--help"]),
    Case("field unknown, in a group", ["kb.paht=t.txt"], ["kb.paht", "no such", "--help"]),
    Case("field unknown, appended", ["+kb.method.paht=t.txt"], ["paht", "remove"]),
    Case("field missing", ["~dataset.preprocessing.n_test"], ["Preprocessing", "n_test", "add"], script="infer_grn.py"),
    Case("group unknown", ["optimizer=adam"], ["optimizer", "no such", "--help"]),
    Case("no equals sign", ["pbmc3k"], ["pbmc3k", "field=value"]),
    Case("unbalanced bracket", ["evaluation.metrics=[mmd"], ["evaluation.metrics=[mmd", "field=value"]),
    Case("with dashes", ["--seed=3"], ["--seed=3", "without dashes"]),
    Case("text with a comma", ["dataset.context=liver, 10x"], ["dataset.context=liver, 10x", "\"'liver, 10x'\""]),
    Case("sweep without -m", ["seed=1,2"], ["seed=1,2", "one value", "--multirun"]),
]

VALUES = [
    Case("graph.k=0", ["graph.k=0"], ["graph.k=0", "1 or more"]),
    Case("graph.k above the TFs", [*H5AD, "graph.k=13"], ["graph.k=13", "12 TFs", "graph.k=12 or less"], h5ad()),
    Case("strategy unknown", ["graph.strategy=best"], ["graph.strategy=best", "choose one of", "top"]),
    Case("seed negative", ["seed=-1"], ["seed=-1", "0 or more"]),
    Case("seed no number", ["seed=abc"], ["seed=abc", "whole number"], script="infer_grn.py"),
    Case("steps no number", ["model.controller.steps=many"], ["model.controller.steps=many", "whole number"]),
    Case("batch_size=1", ["model.causal_gan.batch_size=1"], ["model.causal_gan.batch_size=1", "at least 2"]),
    Case("no layers", ["model.controller.critic_layers=[]"], ["model.controller.critic_layers=[]", "expected a list"]),
    Case(
        "learning rate negative",
        ["model.causal_gan.generator_lr=[-1,1]"],
        ["model.causal_gan.generator_lr", "positive"],
    ),
    Case("metric unknown", ["evaluation.metrics=[fid]"], ["evaluation.metrics", "fid", "choose", "rf_auroc"]),
    Case("metrics no list", ["evaluation.metrics=rf_auroc"], ["evaluation.metrics", "rf_auroc", "list"]),
    Case("n_samples=0", ["evaluation.n_samples=0"], ["evaluation.n_samples=0", "1 or more"]),
    Case("n_genes=0", ["dataset.preprocessing.n_genes=0"], ["dataset.preprocessing.n_genes", "2 or more"]),
    Case("n_test=0", ["dataset.preprocessing.n_test=0"], ["dataset.preprocessing.n_test", "1 or more"]),
    Case("n_jobs=0", ["inferer.n_jobs=0"], ["inferer.n_jobs=0", "-1 for all cores"], script="infer_grn.py"),
    Case("k_max=0", ["inferer=random", "inferer.k_max=0"], ["inferer.k_max=0", "1 or more"]),
    Case("accelerator unknown", ["trainer.accelerator=abacus"], ["trainer.accelerator=abacus", "choose one of", "cpu"]),
    Case("no GPU here", ["trainer.accelerator=cuda"], ["trainer.accelerator=cuda", "no GPU", "trainer=cpu"]),
    Case("devices=0", ["trainer.devices=0"], ["trainer.devices=0", "1 or more"]),
    Case("tracker's mode unknown", ["logger=wandb", "logger.mode=loud"], ["logger.mode=loud", "choose", "offline"]),
]

ONE_ANSWER = '{"messages": [{"role": "user", "content": "SPI1?"}], "text": "yes"}'
SERVER = ("llm=openai_compatible", "llm.model=m", f"llm.base_url={CLOSED.removesuffix('/demo_data.tar')}/v1")
RECORDED = ("llm=recorded", "llm.path=answers.jsonl")
ASK = ("inferer=llm", "graph.k=3", *H5AD)

LANGUAGE_MODELS = [
    Case("no llm to ask", [*ASK], ["inferer=llm", "llm=gpt4", "llm=local"], h5ad()),
    Case("kb of another llm", ["kb=gpt4", "llm=llama"], ["kb=gpt4", "llm=llama", "use kb=llm"]),
    Case("no key", ["llm=gpt4", *ASK], ["OPENAI_API_KEY", "export it"], h5ad()),
    Case("key in the config", ["llm=gpt4", "llm.api_key_env=sk-123", *ASK], ["llm.api_key_env", "name here"], h5ad()),
    Case("no address", ["llm=llama", *ASK], ["LLAMA_BASE_URL", "not set"], h5ad()),
    Case(
        "address that is none",
        [*SERVER[:2], "llm.base_url=localhost", *ASK],
        ["llm.base_url=localhost", "http"],
        h5ad(),
    ),
    Case(
        "address with a key",
        [*SERVER[:2], "llm.base_url=http://me:sk-123@localhost", *ASK],
        ["llm.base_url", "put the key into an environment variable"],
        h5ad(),
    ),
    Case("no server", [*SERVER, "llm.max_retries=1", *ASK], ["no answer after 2 attempts", "check the server"], h5ad()),
    Case("prompts missing", [*SERVER, "llm.prompts=mine.yaml", *ASK], ["mine.yaml", "zero_shot"], h5ad()),
    Case(
        "prompts without genes",
        [*SERVER, "llm.prompts=mine.yaml", *ASK],
        ["mine.yaml", "the keys are"],
        both(h5ad(), file("mine.yaml", "system: hello")),
    ),
    Case("recording missing", [*RECORDED, *ASK], ["answers.jsonl", "cannot be read"], h5ad()),
    Case(
        "recording broken", [*RECORDED, *ASK], ["answers.jsonl", "line 1"], both(h5ad(), file("answers.jsonl", "yes"))
    ),
    Case(
        "question not recorded",
        [*RECORDED, *ASK],
        ["answers.jsonl", "TARGET"],
        both(h5ad(), file("answers.jsonl", ONE_ANSWER)),
    ),
    Case("no GGUF", ["llm=local", "llm.path=counts.h5ad", *ASK], ["llm.path=counts.h5ad", "GGUF"], h5ad()),
    Case("another file as cache", [*SERVER, "llm.cache=counts.h5ad", *ASK], ["counts.h5ad", "another"], h5ad()),
    Case("cache no path", [*SERVER, "llm.cache=5", *ASK], ["llm.cache=5", "path of a file"], h5ad()),
    Case("prompts no name", [*SERVER, "llm.prompts=5", *ASK], ["llm.prompts=5", "name of a strategy"], h5ad()),
    Case("parameters no names", [*SERVER, "llm.parameters=5", *ASK], ["llm.parameters=5", "{top_p: 0.9}"], h5ad()),
    Case(
        "answers that are paid unseen",
        [*SERVER, "llm.parameters={n:5}", *ASK],
        ["llm.parameters.n", "inferer.n_samples"],
        h5ad(),
    ),
    Case("timeout no number", [*SERVER, "llm.timeout=long", *ASK], ["llm.timeout=long", "expected a number"], h5ad()),
    Case("context no text", [*SERVER, "dataset.context=5", *ASK], ["dataset.context=5", "expected"], h5ad()),
    Case("max_cost negative", [*SERVER, "llm.max_cost=-1", *ASK], ["llm.max_cost=-1", "0 or more"], h5ad()),
    Case("temperature negative", [*SERVER, "llm.temperature=-1", *ASK], ["llm.temperature=-1", "0 or more"], h5ad()),
    Case("samples alike", [*SERVER, "inferer.n_samples=3", *ASK], ["inferer.n_samples=3", "llm.temperature"], h5ad()),
    Case("windows that stand", ["kb=llm", *SERVER, "kb.overlap=20", *H5AD], ["kb.overlap=20", "kb.window"], h5ad()),
]

RUN = finished_run("a")
TWO_RUNS = both(RUN, finished_run("b", inferer="random"))
GRAPH_ALONE = finished_run("g", leave_out=["results.json", "results.csv"])
ANEW = "run the same command again"


def comparison(name: str, arguments: Sequence[str], says: Sequence[str], make: Callable[[Path], None] | None = RUN):
    """Return a case of ``evaluate.py``."""
    return Case(name, arguments, says, make, script="evaluate.py")


def damaged(name: str, content: str | bytes) -> Callable[[Path], None]:
    """Return a writer of a finished run with one damaged file."""
    return finished_run("a", replace={name: content})


COMPARISONS = [
    comparison("no runs yet", [], ["runs=outputs/*", "no finished run", "train one"], None),
    comparison("no such run", ["runs=outputs/z"], ["runs=outputs/z", "no finished run", "train one"]),
    comparison("pattern without match", ["runs=[outputs/a,outputs/z*]"], ["runs=outputs/z*", "train one"]),
    comparison("folder that is no run", ["runs=notes"], ["runs=notes", "results.json"], file("notes/text.md", "hi")),
    comparison("no runs named", ["runs=[]"], ["runs=[]", "name at least one"]),
    comparison("runs no pattern", ["runs=true"], ["runs=True", "expected a folder"]),
    comparison("scores damaged", [], ["outputs/a/results.json", "JSON", ANEW], damaged("results.json", '{"run": ')),
    comparison("scores binary", [], ["outputs/a/results.json", "text"], damaged("results.json", bytes(range(256)))),
    comparison("scores of another", [], ["a/results.json", "no 'run'", "give"], damaged("results.json", "{}")),
    comparison("configuration damaged", [], ["outputs/a/config.yaml", ANEW], damaged("config.yaml", "a: [1")),
    comparison("graph damaged", [], ["outputs/a/graph.json", "expected"], damaged("graph.json", "{")),
    comparison(
        "no synthetic cells",
        [],
        ["outputs/a", "no synthetic_0.h5ad", ANEW],
        finished_run("a", leave_out=["synthetic_0.h5ad"]),
    ),
    comparison("no real cells", [], ["outputs/a", "test.h5ad", ANEW], finished_run("a", leave_out=["test.h5ad"])),
    comparison("synthetic cells damaged", [], ["a/synthetic_0.h5ad", ANEW], damaged("synthetic_0.h5ad", b"\x89HDF")),
    comparison(
        "runs of other genes",
        [],
        ["outputs/a and outputs/b", "seed 1", "different genes", "give"],
        both(RUN, finished_run("b", genes=GENES[:30])),
    ),
    comparison(
        "graph among runs",
        ["runs=[outputs/a,outputs/g]"],
        ["runs=outputs/g", "without scores", "compare graphs by themselves"],
        both(RUN, GRAPH_ALONE),
    ),
    comparison("name with a slash", ["name=a/b"], ["name=a/b", "expected the name of a folder"]),
    comparison("name of a run", ["name=a"], ["name=a", "outputs/a", "choose another"]),
    comparison("name of the store", ["name=store"], ["name=store", "choose another"]),
    comparison("name taken", ["name=n"], ["name=n", "choose another"], both(RUN, file("outputs/n/notes.md", "hi"))),
    comparison("paper neither true nor false", ["paper=maybe"], ["paper=maybe", "expected true or false"]),
    comparison("seed of the comparison", ["seed=-1"], ["seed=-1", "0 or more"]),
    comparison("option of evaluate unknown", ["referense=x"], ["referense", "no such option", "--help"]),
    comparison("no such reference", ["reference=e.tsv"], ["reference=e.tsv", "cannot be read", "expected"], TWO_RUNS),
    comparison(
        "reference without TFs",
        ["reference=e.tsv"],
        ["reference=e.tsv", "without the column TF, target among a, b, c", "TF and target"],
        both(RUN, file("e.tsv", "a\tb\tc\nSPI1\tCD14\tx\n")),
    ),
    comparison("one of two references", ["reference=[e.tsv,9]"], ["reference=9", "list"], TWO_RUNS),
    comparison("no CollecTRI", ["reference=collectri"], ["reference=collectri", "put the CollecTRI edges there"]),
    comparison("reference of others", ["reference=truth"], ["reference=truth", "not simulated"]),
    comparison("no such screen", ["perturbation=s.h5ad"], ["perturbation.path", "no file s.h5ad", "give the path"]),
    comparison(
        "screen without the column",
        ["perturbation=counts.h5ad", "perturbation.column=guide"],
        ["perturbation.column=guide", "no such obs column", "name the one"],
        both(RUN, h5ad()),
    ),
    comparison("no such CellTypist model", ["celltypist=m.pkl"], ["celltypist=m.pkl", "no such file", "give"]),
    comparison(
        "CellTypist model that is none",
        ["celltypist=m.pkl"],
        ["m.pkl", "not a CellTypist model", "give"],
        both(RUN, file("m.pkl", "no")),
    ),
]

CASES = [*MATRICES, *FILES, *LISTS, *OPTIONS, *VALUES, *LANGUAGE_MODELS, *COMPARISONS]
