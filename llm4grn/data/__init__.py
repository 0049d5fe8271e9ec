"""Data: from raw counts to train, validation and test cells.

``sources`` says where counts come from (shipped files, the user's own, the paper's archive), ``checks`` refuses what
are not counts, ``preprocess`` chooses genes, normalises and splits. Nothing is re-exported here, so that importing the
package costs nothing.
"""
