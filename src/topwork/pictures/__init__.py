"""Files to pixels: tables of pictures, the one way to decode them, splits, and what looks like a copy."""
