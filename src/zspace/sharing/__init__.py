"""Leaving the house: programs that run without zspace, models on a hub, and their cards."""
