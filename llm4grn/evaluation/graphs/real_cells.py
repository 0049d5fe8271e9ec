"""The real cells of finished runs: training cells, from which networks were inferred, and held-out ones."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anndata

#: File of ``infer_grn.py`` with the keys of its stages; ``train.py`` has them in ``results.json``.
STAGES = "stages.json"


def training_cells(folder: Path, store: Path | None) -> anndata.AnnData | None:
    """Return the training cells of the run in ``folder``; see :func:`real_cells`."""
    return real_cells(folder, store, "train")


def real_cells(folder: Path, store: Path | None, name: str) -> anndata.AnnData | None:
    """Return the real cells of one split of the run in ``folder``; None if the store does not have them.

    Parameters
    ----------
    folder
        Folder of ``train.py`` or ``infer_grn.py``.
    store
        Folder of finished stages (``paths.store``); None if it is not available.
    name
        ``train``, ``validation`` or ``test``.
    """
    path = data_file(folder, store)
    return None if path is None else split_of(path, name)


def data_file(folder: Path, store: Path | None) -> Path | None:
    """Return the file with the cells of all splits of a run; None if the store does not have it."""
    key = _data_key(Path(folder))
    path = None if store is None or key is None else Path(store) / "data" / key / "cells.h5ad"
    return path if path is not None and path.is_file() else None


def _data_key(folder: Path) -> str | None:
    """Return the key of the data stage that the run's files name."""
    for name, path in ((STAGES, ()), ("results.json", ("run", "stages"))):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            for field in path:
                content = content[field]
            return str(content["data"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


@lru_cache(maxsize=2)  # runs on the same cells follow each other
def split_of(path: Path, name: str) -> anndata.AnnData:
    """Return the cells of one split in a :func:`data_file`."""
    import anndata

    from llm4grn.data.preprocess import split

    return split(anndata.read_h5ad(path), name)
