"""Trustworthy transient candidates from Rubin difference imaging, without human labels."""

__version__ = "0.1.0"
