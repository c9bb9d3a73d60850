"""What several tests share: made-up sounds, tagged files, reference values."""
