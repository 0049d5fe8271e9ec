"""Inference methods: each returns a ranked network of TF -> target edges for given transcription factors."""

from llm4grn.inference.base import Inferer

__all__ = ["Inferer"]
