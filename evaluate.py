"""Finished runs in one table: mean and spread over samples and seeds, with control and stage 1 beside them."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from llm4grn import cli
from llm4grn.errors import UserError
from llm4grn.evaluation.comparison import find_runs, load_runs
from llm4grn.evaluation.results import to_csv
from llm4grn.evaluation.tables import markdown_table, terminal_table
from llm4grn.store import atomic_write


def evaluate(cfg: DictConfig) -> None:
    patterns = OmegaConf.to_container(cfg.runs, resolve=True) if OmegaConf.is_list(cfg.runs) else [cfg.runs]
    if not isinstance(cfg.rescore, bool):
        raise UserError(f"rescore={cfg.rescore}: expected true or false")
    folders = find_runs([str(pattern) for pattern in patterns])
    results, n_cells = load_runs(folders, rescore=cfg.rescore)
    print(f"\n{len(folders)} runs\n\n{terminal_table(results, n_cells)}")

    outputs = Path(cfg.paths.outputs)
    with atomic_write(outputs / "comparison.md") as path:
        path.write_text(markdown_table(results, n_cells))
    with atomic_write(outputs / "comparison.csv") as path:
        path.write_text(to_csv(results))
    print(f"table  {outputs / 'comparison.md'}\ntidy   {outputs / 'comparison.csv'}")


if __name__ == "__main__":
    cli.main(evaluate, "evaluate")
