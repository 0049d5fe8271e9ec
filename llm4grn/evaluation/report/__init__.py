"""What shows a comparison: tables and figures in a terminal, in files, on a page."""
