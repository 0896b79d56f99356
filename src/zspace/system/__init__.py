"""Files, processes and devices: what the other rooms stand on. Nothing here knows a model."""
