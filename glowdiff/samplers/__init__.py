"""From noise to data: samplers, guidance, and the levels they walk along."""
