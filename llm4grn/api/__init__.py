"""The Python interface: AnnData in, AnnData and plain objects out, for scripts and notebooks.

It calls the classes behind the commands, with the names and defaults of the YAML files. Nothing is written to disk
unless a ``store`` or a path is given.
"""
