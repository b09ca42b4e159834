"""The one Hypothesis profile."""

from hypothesis import settings

from pytest_interp.strategies import PROFILE

settings.register_profile("interp", PROFILE)
settings.load_profile("interp")
