"""Slows down whoever tries too often."""
