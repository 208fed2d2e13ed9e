"""What `make docs` is made of: pages from the code, examples that are run, links that are checked."""
