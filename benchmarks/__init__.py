"""Benchmarks: one runnable module per claim, whose last output line is JSON."""
