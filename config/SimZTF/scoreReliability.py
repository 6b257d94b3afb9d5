# Its detectors see 25 times the sky of the others': rows of flashes can be told from chance over larger
# distances, and the simulation draws them by the pixel.
config.glintSpacing = 160.0
