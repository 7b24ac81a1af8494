"""A fuzzer of every reader and entry point: mutated examples, odd values, and what may come of them."""
