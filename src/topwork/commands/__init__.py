"""The commands, one file per group: parse, call one function, print."""
