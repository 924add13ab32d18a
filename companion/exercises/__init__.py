"""Checks for the exercises of the chapters: each says "right: ..." or "not yet: ..." with a hint."""
