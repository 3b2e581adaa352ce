"""Plugins of all tests."""

pytest_plugins = ["pytester", "tests.shared_run"]
