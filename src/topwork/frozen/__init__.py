"""Gradients to the picture through a network whose weights never change, as fast as this machine can give them."""
