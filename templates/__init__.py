"""What a new port starts as."""
