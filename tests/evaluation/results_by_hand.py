"""Results made by hand, for tables and reports."""

from llm4grn.results import Result

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


def seeds_of(inferer: str, values: dict[int, tuple[float, float]], **labels) -> list[Result]:
    """One sample per seed with MMD and RF AUROC; the distances follow the MMD."""
    return [
        result
        for seed, (mmd, auroc) in values.items()
        for result in make_results(values=((mmd / 10, mmd * 1e4, mmd, auroc),), inferer=inferer, seed=seed, **labels)
    ]


#: Per seed, in units of the spread: patterns that sum to zero and do not follow one another.
PATTERNS = ((1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))


def around(mmd: float, auroc: float, pattern: int = 0, spread: float = 0.001) -> dict[int, tuple[float, float]]:
    """Values of four seeds with these means."""
    steps = [spread * step for step in PATTERNS[pattern]]
    return {1000 * i: (mmd * (1 + step), auroc * (1 + step)) for i, step in enumerate(steps, start=1)}
