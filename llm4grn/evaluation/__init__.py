"""Evaluation of finished runs: scores, cells and graphs, and the reports that show them."""
