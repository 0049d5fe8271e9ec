"""Clusters of cells."""

import networkx as nx
import numpy as np
import pytest
from sklearn.neighbors import kneighbors_graph

from llm4grn.data.clusters import N_NEIGHBOURS, communities


def cloud(n_cells: int = 300, distance: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cells of three types, in any order, and their types."""
    rng = np.random.default_rng(seed)
    types = rng.integers(0, 3, n_cells)
    return rng.normal(size=(n_cells, 5)) + distance * np.eye(5)[types], types


def test_types_far_apart_are_the_clusters():
    points, types = cloud(distance=30.0)
    clusters = communities(points, resolution=0.05, seed=0)
    assert len(set(clusters)) == 3
    assert len(set(zip(clusters, types, strict=True))) == 3


def test_a_higher_resolution_gives_more_clusters():
    points, _ = cloud()
    numbers = [len(set(communities(points, resolution, seed=0))) for resolution in (0.1, 1.0, 5.0)]
    assert numbers == sorted(set(numbers))


def test_no_cluster_falls_apart_in_the_graph_of_neighbours():
    """Leiden's guarantee, which Louvain's communities do not have."""
    points, _ = cloud(1000)
    clusters = communities(points, resolution=3.0, seed=0)
    graph = nx.from_scipy_sparse_array(kneighbors_graph(points, N_NEIGHBOURS))
    assert all(nx.is_connected(graph.subgraph(np.flatnonzero(clusters == cluster))) for cluster in set(clusters))


def test_modularity_is_not_below_louvain():
    points, _ = cloud(1000)
    graph = nx.from_scipy_sparse_array(kneighbors_graph(points, N_NEIGHBOURS, mode="connectivity"))
    graph.add_edges_from(graph.edges, weight=1)
    clusters = communities(points, resolution=1.0, seed=0)
    sets = [set(np.flatnonzero(clusters == cluster)) for cluster in np.unique(clusters)]
    louvain = [nx.community.louvain_communities(graph, seed=seed) for seed in range(3)]
    assert nx.community.modularity(graph, sets) > min(nx.community.modularity(graph, each) for each in louvain)


def test_the_seed_decides():
    points, _ = cloud(1000)
    first, again, other = (communities(points, 3.0, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("n_cells", [2, 3, N_NEIGHBOURS, N_NEIGHBOURS + 1])
def test_few_cells(n_cells):
    assert communities(cloud(n_cells)[0], 1.0, 0).shape == (n_cells,)
