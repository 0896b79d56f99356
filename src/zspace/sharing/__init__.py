"""What goes with a run to other people: its card."""
