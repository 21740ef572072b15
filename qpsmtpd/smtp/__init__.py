"""The SMTP language: addresses, commands, replies and status codes as values, without input or output."""
