"""How good are the cells of the causal GAN, by the options of its training?

``python -m benchmarks.generator`` trains every variant of ``model=small`` named in :data:`VARIANTS` under each graph
and seed, generates as many cells as there are validation cells, and prints all metrics, the share of cells of no real
type, and the processor time of both trainings. A finished training is kept in ``--store`` and not repeated;
its processor time is then only that of reading it.

``--split test`` is for the last look, at what was chosen before.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import llm4grn as lg
from llm4grn.evaluation.cells.hallucination import hallucination

#: Data sets, and what differs from the defaults in their preprocessing.
DATASETS: Mapping[str, Mapping[str, Any]] = {"pbmc3k": {}, "pbmc68k_reduced": {"n_test": 150, "n_validation": 150}}
#: What ``model=small`` sets for both stages, and for stage 2, before its critics learned faster.
_FORMER_BOTH = {"batch_size": 128, "critic_updates": 5, "critic_spaces": ["counts"], "observation": "none"}
_FORMER_CRITIC = {"critic_lr": [4e-3, 4e-4], "penalty_weight": 10.0}
#: Hyperparameters in place of those of ``model=small``, of both stages and of stage 2 alone, by variant.
VARIANTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "former": (_FORMER_BOTH, _FORMER_CRITIC),
    "two spaces": (_FORMER_BOTH | {"critic_spaces": ["counts", "log1p"]}, _FORMER_CRITIC),
    "two spaces, quick": ({"critic_updates": 3, "observation": "none"}, _FORMER_CRITIC),
    "three updates": ({"critic_updates": 3}, _FORMER_CRITIC),
    "two updates": ({}, _FORMER_CRITIC),
    "one update": ({"critic_updates": 1}, _FORMER_CRITIC),
    "counts first": ({"critic_updates": 3, "critic_weights": [1.0, 0.5]}, _FORMER_CRITIC),
    "faster critic": ({}, {"penalty_weight": 10.0}),
    "half the penalty": ({}, {"critic_lr": [4e-3, 4e-4]}),
    "small": ({}, {}),
}


def hyperparameters(variant: str) -> dict[str, dict[str, Any]]:
    """Return what a variant sets, by stage."""
    both, causal_gan = VARIANTS[variant]
    return {"controller": dict(both), "causal_gan": {**both, **causal_gan}}


@dataclass(frozen=True)
class Case:
    """One training to judge."""

    variant: str
    graph: str
    seed: int


def judge(case: Case, cells: lg.SplitCells, split: str, store: Path, n_samples: int, steps: int | None) -> pd.Series:
    """Train a variant, and return the means of its scores over ``n_samples`` sets of cells."""
    real = getattr(cells, split)
    grn = lg.infer_grn(cells, tfs="human", inferer=case.graph, seed=case.seed)
    shorter = {} if steps is None else {"steps": steps}
    options = {stage: {**values, **shorter} for stage, values in hyperparameters(case.variant).items()}
    begin = time.process_time()
    model = lg.CausalGenerator.fit(
        cells,
        grn.top(10),
        controller=options["controller"],
        causal_gan=options["causal_gan"],
        store=store,
        seed=case.seed,
    )
    seconds = time.process_time() - begin
    rows = []
    for sample in range(n_samples):
        generated = model.generate(real.n_obs, seed=sample)
        scores = lg.score(real, generated, seed=sample)["value"]
        foreign = hallucination(real.X, generated.X, sample).in_foreign_cluster.mean()
        rows.append(pd.concat([scores, pd.Series({"no real type": foreign})]))
    return pd.concat([pd.DataFrame(rows).mean(), pd.Series({"CPU seconds": seconds})])


def table(found: Mapping[Case, pd.Series]) -> pd.DataFrame:
    """Return mean and, of several seeds, standard deviation, one row per variant and graph."""
    frame = pd.DataFrame(list(found.values()), index=pd.MultiIndex.from_tuples([(c.variant, c.graph) for c in found]))
    groups = frame.groupby(level=[0, 1], sort=False)
    spread = groups.std(ddof=1).map(lambda value: "" if np.isnan(value) else f" ± {value:.2g}")
    return groups.mean().map("{:.4g}".format) + spread


def control(cells: lg.SplitCells, split: str) -> pd.Series:
    """Return the scores of training cells, the best that a generator can reach."""
    real = getattr(cells, split)
    chosen = np.random.default_rng(0).permutation(cells.train.n_obs)[: real.n_obs]
    return lg.score(real, cells.train[chosen], seed=0)["value"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="pbmc3k", choices=list(DATASETS))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--graphs", nargs="+", default=["grnboost2", "random"], metavar="INFERER")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1000, 2000, 3000], metavar="SEED")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    parser.add_argument("--samples", type=int, default=4, help="sets of cells per training")
    parser.add_argument("--steps", type=int, help="generator steps of both stages, to try the benchmark itself")
    parser.add_argument("--store", type=Path, default=Path("outputs/store"))
    parser.add_argument("--output", type=Path, default=Path("outputs/generator.json"))
    args = parser.parse_args(arguments)
    found: dict[Case, pd.Series] = {}
    for seed in args.seeds:
        cells = lg.preprocess(getattr(lg.datasets, args.dataset)(), seed=seed, **DATASETS[args.dataset])
        print(f"seed {seed}, real cells:\n{control(cells, args.split).to_string()}", flush=True)
        for variant in args.variants:
            for graph in args.graphs:
                case = Case(variant, graph, seed)
                found[case] = judge(case, cells, args.split, args.store, args.samples, args.steps)
                print(f"{case}:\n{found[case].to_string()}", flush=True)
    print(table(found).T.to_string())
    args.output.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"dataset": args.dataset, "split": args.split, **vars(case), **row} for case, row in found.items()]
    args.output.write_text(json.dumps(rows, indent=1))
    print(args.output)


if __name__ == "__main__":
    main()
