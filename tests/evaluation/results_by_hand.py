"""Results made by hand, for tables and reports."""

from llm4grn.evaluation.scores.results import Result

#: Those of the paper, in its order.
METRICS = ("cosine_distance", "euclidean_distance", "mmd", "rf_auroc")


def make_results(
    source: str = "run",
    values: tuple = ((0.0004, 110.0, 0.009, 0.63), (0.0006, 112.0, 0.011, 0.65)),
    *,
    dataset: str = "pbmc3k",
    kb: str = "human",
    inferer: str = "grnboost2",
    llm: str = "",
    model: str = "small",
    graph: str = "top10",
    seed: int = 1000,
) -> list[Result]:
    """Results of one seed; ``values`` holds the four metrics of each sample."""
    return [
        Result(dataset, kb, inferer, llm, model, graph, seed, sample, source, name, value)
        for sample, row in enumerate(values)
        for name, value in zip(METRICS, row, strict=True)
    ]


def one_run() -> list[Result]:
    """Control, stage 1 and one run in between them."""
    return [
        *make_results("control", ((0.0002, 100.0, 0.005, 0.49), (0.0003, 102.0, 0.006, 0.51))),
        *make_results("stage1", ((0.0005, 120.0, 0.019, 0.79), (0.0007, 124.0, 0.021, 0.81))),
        *make_results("run"),
    ]
