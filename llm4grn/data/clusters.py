"""Clusters of cells: Louvain communities of the graph of nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx as nx
    import numpy as np

N_NEIGHBOURS = 15


def communities(points: np.ndarray, resolution: float, seed: int) -> np.ndarray:
    """Return the community of each cell (n_cells,).

    Parameters
    ----------
    points
        Coordinates of the cells, for instance principal components (n_cells, n_components).
    resolution
        Resolution of the modularity; higher values give more and smaller communities.
    seed
        Seed for the order in which cells are visited.
    """
    import networkx as nx
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    n_neighbours = min(N_NEIGHBOURS, len(points) - 1)
    neighbours = NearestNeighbors(n_neighbors=n_neighbours).fit(points).kneighbors(return_distance=False)
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(len(points)))
    graph.add_edges_from((i, int(j)) for i, row in enumerate(neighbours) for j in row)
    clusters = np.empty(len(points), dtype=int)
    for number, members in enumerate(nx.community.louvain_communities(graph, resolution=resolution, seed=seed)):
        clusters[list(members)] = number
    return clusters
