"""Light curves of injected transients: fluxes at any time and in any band, of many transients at once."""
