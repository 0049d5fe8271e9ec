"""Who regulates whom? Each inferer takes the transcription factors and gives a ranked network of TF -> target edges."""

from llm4grn.inference.base import Inferer

__all__ = ["Inferer"]
