"""Sweeps: many set-ups, planned chunk by chunk on any engine, and their rows in files."""
