"""Training: schedules, objectives, the loop, and checkpoints that survive anything."""
