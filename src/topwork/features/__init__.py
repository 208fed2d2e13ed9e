"""Pixels to numbers: the engines that run a backbone, which of them is best here, and the store."""
