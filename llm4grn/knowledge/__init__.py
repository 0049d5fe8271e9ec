"""Knowledge bases: each selects the transcription factors among the gene names, without reading the expression."""

from llm4grn.knowledge.base import KnowledgeBase, TFSet

__all__ = ["KnowledgeBase", "TFSet"]
