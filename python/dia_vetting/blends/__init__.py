"""Blends: which sources are two, how many they are, and where they overlap."""
