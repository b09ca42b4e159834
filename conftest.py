"""pytester, and the one Hypothesis profile."""

from hypothesis import settings

from pytest_interp.strategies import PROFILE

pytest_plugins = ["pytester"]

settings.register_profile("interp", PROFILE)
settings.load_profile("interp")
