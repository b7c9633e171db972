"""What the rest is built of, and knows nothing of weights: messages, integers, files, progress."""
