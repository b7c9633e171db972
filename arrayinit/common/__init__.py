"""Building blocks that know nothing of weights: messages, tables, progress, integers, the float environment, disks."""
