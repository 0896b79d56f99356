"""Readers: from files in the usual formats to arrays."""
