"""Fine-tuning: the last part of a network learns from activations of the rest, and says whether it helped."""
