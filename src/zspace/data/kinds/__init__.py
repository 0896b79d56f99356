"""Kinds of x: one file for each, which says how samples are read, shown and compared."""
