"""Support for long computations: locks, workers, threads, progress bars, secrets and seeds."""
