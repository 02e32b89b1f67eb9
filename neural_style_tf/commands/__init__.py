"""The commands: each reads its options, calls the numerics, and writes what comes back.

A command is a module with `SUMMARY`, `add_arguments(parser)` and `run(options) -> exit code`.
"""
