"""The command line `sofs`: nouns first, human tables by default, `--json` always."""
