"""Networks of finished runs: files, overlaps, reference edges, and whether the cells show the imposed edges."""
