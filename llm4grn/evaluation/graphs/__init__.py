"""The networks of finished runs: files, overlaps, references, and whether the cells obey them."""
