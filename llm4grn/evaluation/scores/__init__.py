"""Scores of finished runs: reading, summaries, statistical tests, tables and verdicts in words."""
