"""Tests of the tools: of the stress programs, their judges and reports, and of the benchmarks."""
