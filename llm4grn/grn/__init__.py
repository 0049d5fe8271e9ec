"""Gene regulatory networks: ranked edges, and the graph that is imposed."""

from llm4grn.grn.causal_graph import CausalGraph, overlap
from llm4grn.grn.network import GRN, Strategy

__all__ = ["GRN", "CausalGraph", "Strategy", "overlap"]
