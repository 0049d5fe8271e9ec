"""Trackers that show a run: Weights & Biases, TensorBoard, or CSV files only."""
