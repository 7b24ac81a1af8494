"""Programs that run on a target by its own interpreter, alone and without this package."""
