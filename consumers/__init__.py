"""The movement: events from a feed into effects, exactly once in effect."""
