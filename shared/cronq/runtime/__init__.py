"""What every service stands on: settings, clock, log, backoff, the process loop and its health."""
