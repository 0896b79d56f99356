"""A run or a study as figures and as one HTML page."""
