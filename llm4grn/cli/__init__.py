"""Between Hydra and the library: one module per command, and what they share."""
