"""What measures each platform."""
