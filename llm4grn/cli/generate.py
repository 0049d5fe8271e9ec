"""Write any number of cells from a finished run to one .h5ad, in constant memory."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from llm4grn.cli.main import run
from llm4grn.cli.program import command_text
from llm4grn.errors import UserError


def generate(cfg: DictConfig) -> None:
    """Check the options, and write the generated cells to ``cfg.out``."""
    for name in "n_cells", "seed":
        if not isinstance(cfg[name], int) or isinstance(cfg[name], bool) or cfg[name] < (name == "n_cells"):
            raise UserError(f"{name}={cfg[name]}: expected a whole number")
    for name in "run", "out":
        if OmegaConf.is_missing(cfg, name):
            raise UserError(
                f"{name} is not set; type {command_text('generate')} run=FOLDER n_cells=1000000 out=cells.h5ad"
            )
    if cfg.compression not in (None, "gzip"):
        raise UserError(f"compression={cfg.compression}: expected null or gzip")
    out = Path(str(cfg.out))
    if out.suffix != ".h5ad" or out.is_dir():
        raise UserError(f"out={cfg.out}: expected a file that ends in .h5ad")

    import torch

    from llm4grn.gan.api import load_trained
    from llm4grn.gan.generation import write_cells

    if cfg.device not in ("cpu", "cuda") or (cfg.device == "cuda" and not torch.cuda.is_available()):
        raise UserError(f"device={cfg.device}: expected cpu, or cuda where PyTorch sees a GPU")
    model, _ = load_trained(Path(str(cfg.run)))
    provenance = {"run": Path(str(cfg.run)).name, "device": cfg.device}
    try:
        write_cells(
            model.to(cfg.device), out, cfg.n_cells, cfg.seed, compression=cfg.compression, provenance=provenance
        )
    except OSError as error:
        raise UserError(f"out={out}: cannot write it ({error}); choose another place or fewer cells") from error
    print(f"{cfg.n_cells} cells of {cfg.run}: {out}, {out.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Run ``python generate.py``."""
    run(generate, "generate")
