"""Light-curve confirmation: from DIA sources and their scores to one verdict per DIA object."""
