"""Figures: from arrays to matplotlib. Nothing here computes a result; nothing else draws."""
