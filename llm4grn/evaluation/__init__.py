"""From cells to conclusions: scores, tidy results, the summary table, pictures and the report of a run."""
