"""The test kit: what plugin authors need to test without a socket and without waiting."""
