"""Training tricks tried out, one at a time, on the user's own pictures."""
