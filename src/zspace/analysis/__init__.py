"""Functions of a trained model and arrays: codes, planes, walks, and every metric."""
