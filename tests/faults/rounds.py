"""How often each fault is put to a system, and by which seeds: what `make faults` sets by the environment."""

from __future__ import annotations

import os

ASKED = os.environ.get("GRIFFEL_FAULT_ROUNDS")
ROUNDS = int(ASKED or "1")
SEED = int(os.environ.get("GRIFFEL_FAULT_SEED", "20261123"))
SEEDS = range(SEED, SEED + ROUNDS)
OUTAGE_S = float(os.environ.get("GRIFFEL_FAULT_OUTAGE_S", "5"))
"""How long Kafka is away."""
