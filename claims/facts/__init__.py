"""Facts: surnames, capitals, landmarks."""
