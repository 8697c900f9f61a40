"""What Keyguard and other libraries do, found by running and by reading them: `python -m benchmarks.features`."""
