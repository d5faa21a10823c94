"""What any Paddle program asks of its device: recorded from outside, kernel by kernel, and what a plugin lacks for it."""
