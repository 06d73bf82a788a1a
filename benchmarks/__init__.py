"""Benchmarks: each figure beside what a simple rule gets on the same data."""
