# The PSF is 2 to 3 arcsec wide: centroids of faint sources scatter by more than 0.5 arcsec.
config.matchRadius = 1.2
config.ambiguousRadius = 2.5
