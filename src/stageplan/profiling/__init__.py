"""What is known of a neural network: its layers, their work and memory, and their times."""
