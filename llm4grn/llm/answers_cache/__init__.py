"""Persistent cache of answers: the database, the processes that use it, and its export as JSON Lines."""
