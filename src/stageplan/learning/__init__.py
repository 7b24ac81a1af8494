"""A placement policy: learned here, as a torch module, and as an environment for other learners."""
