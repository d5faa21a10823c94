"""What any Paddle program asks of its device: recorded kernel by kernel, and what a plugin lacks for it."""
