# As scoreReliability: another model on the same images.
config.glintSpacing = 160.0
