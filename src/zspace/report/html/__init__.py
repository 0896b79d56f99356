"""The page of a study or a run: one HTML file that needs no network."""
