"""Statements about models. In the wheel they are ``pytest_interp.claims``: `pytest --pyargs pytest_interp.claims`."""
