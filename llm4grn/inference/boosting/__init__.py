"""The native engine of GRNBoost2: gradient boosting of many targets in parallel."""
