"""Profiles of neural networks: their layers, with work, memory and times."""
