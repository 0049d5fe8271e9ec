"""Reports of runs and comparisons: in files, on an HTML page and in Weights & Biases."""
