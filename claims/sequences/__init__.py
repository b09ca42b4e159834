"""Days, months, numbers that go on."""
