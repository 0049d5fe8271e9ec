"""Clusters of cells: Leiden communities of the graph of nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

N_NEIGHBOURS = 15


def communities(points: np.ndarray, resolution: float, seed: int) -> np.ndarray:
    """Return the community of each cell (n_cells,).

    Communities are those of the Leiden algorithm (Traag, Waltman and van Eck, Scientific Reports 9, 2019), repeated
    from its own result once, as scanpy does. scanpy's function needs libraries under the GPL, which this one does not.

    Parameters
    ----------
    points
        Coordinates of the cells, for instance principal components (n_cells, n_components).
    resolution
        Resolution of the modularity; higher values give more and smaller communities.
    seed
        Seed for the order in which cells are visited, not negative.
    """
    import numpy as np
    from graspologic_native import leiden_csr
    from sklearn.neighbors import kneighbors_graph

    nearest = kneighbors_graph(points, min(N_NEIGHBOURS, len(points) - 1), include_self=False)
    graph = nearest.maximum(nearest.T)
    _, community = leiden_csr(
        graph.indptr.astype(np.int64), graph.indices.astype(np.int32), graph.data, len(points),
        resolution=resolution, iterations=2, seed=seed,
    )  # fmt: skip
    return np.array([community[cell] for cell in range(len(points))])
