"""What blends do to what is measured: engines of measureBlendingImpact, without butler."""
