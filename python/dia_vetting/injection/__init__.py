"""Choosing hosts, drawing transients on them and putting them into visit images."""
