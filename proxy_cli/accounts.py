"""What one call may cost and has cost."""
