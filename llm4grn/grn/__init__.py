"""Gene regulatory networks (ranked edges) and the causal graphs imposed on the generator."""

from llm4grn.grn.causal_graph import CausalGraph, overlap
from llm4grn.grn.network import GRN, Strategy

__all__ = ["GRN", "CausalGraph", "Strategy", "overlap"]
