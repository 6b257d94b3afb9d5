# As wide as the match of labels: half a PSF.
config.radius = 1.2
