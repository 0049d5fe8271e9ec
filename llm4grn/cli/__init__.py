"""The commands, one module each, and the code between Hydra and the library that they share."""
