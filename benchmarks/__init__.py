"""Speed against what a reader would use instead: `make bench`."""
