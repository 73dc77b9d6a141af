"""The command line: one file per command; heavy imports stand inside the commands, so that `--help` is fast."""
