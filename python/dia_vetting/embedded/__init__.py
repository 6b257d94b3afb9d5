"""Stand-ins for Rubin's stack, for machines without it: a simulated survey and difference imaging."""
