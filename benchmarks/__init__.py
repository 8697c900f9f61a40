"""What Keyguard costs, measured: `python -m benchmarks` runs everything and writes the manual's table."""
