"""Answers kept for good: the database, who is using it, and its export as JSON Lines."""
