"""Twenty questions about pretrained networks, each answer with its reason."""
