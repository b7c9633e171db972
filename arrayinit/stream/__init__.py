"""The stream: words, deviates and formats, in integers and without any array library."""
