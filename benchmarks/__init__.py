"""One runnable module per claim, each printing one JSON line last."""
