"""Replay of recorded Paddle calls: parse a line, choose seeded inputs, judge with the operator catalogue."""
