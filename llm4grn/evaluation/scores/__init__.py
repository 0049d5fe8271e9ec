"""Numbers of finished runs: read, summarised, tested, tabulated, put into words."""
