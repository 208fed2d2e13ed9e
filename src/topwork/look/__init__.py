"""Looking inside a network: what its layers see, why it answers, and the picture it has in mind for a class."""
