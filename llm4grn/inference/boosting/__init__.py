"""The engine of GRNBoost2: gradient boosting of many targets side by side."""
