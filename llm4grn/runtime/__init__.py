"""Locks, workers, threads, progress bars, secrets and seeds: what any long computation needs."""
