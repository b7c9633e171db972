"""Building blocks that know nothing of weights: messages, integers, the float environment, disks, progress."""
