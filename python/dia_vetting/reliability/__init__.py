"""Cutouts, labels, networks, training, scores and their evaluation."""
