"""What outlives a process: database rows."""
