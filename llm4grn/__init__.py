"""llm4grn: can a large language model draw a gene regulatory network?"""

__version__ = "0.1.0"
