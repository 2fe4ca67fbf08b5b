"""The command line: one file a command; each reads its options, calls `paramgen.api` once, and prints."""
