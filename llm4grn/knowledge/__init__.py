"""Who is a transcription factor? Each knowledge base reads the gene names, never the expression, and names the TFs."""

from llm4grn.knowledge.base import KnowledgeBase, TFSet

__all__ = ["KnowledgeBase", "TFSet"]
