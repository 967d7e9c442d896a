"""The `saga` command: one file per command, `main` assembles them."""
