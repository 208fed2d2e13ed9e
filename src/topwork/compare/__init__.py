"""The challenge: how strange a folder's pictures are, which network to pick, and how many more photos it takes."""
