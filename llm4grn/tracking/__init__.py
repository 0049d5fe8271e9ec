"""Followers of a run: loggers of its training, and Weights & Biases."""
