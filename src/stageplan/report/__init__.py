"""Reports and plots of plans, fronts and sweeps, and traces of schedules."""
