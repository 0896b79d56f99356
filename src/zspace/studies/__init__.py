"""Many runs: over a grid of choices, on one machine or on many."""
