"""Data: from raw counts to train, validation and test cells.

``sources`` provides counts (shipped files, the user's own files, the paper's archive), ``raw_counts`` validates them,
and ``preprocess`` selects genes, normalises and splits. Nothing is re-exported here, so that importing the package is
fast.
"""
