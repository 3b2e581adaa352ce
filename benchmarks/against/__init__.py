"""The working tree beside another revision, in turns: ``make bench ARGS="--against REV"``.

`_worker` and `scan` run on the code of either checkout. So they, and all that they import, use
the public names of the package only, and this module imports nothing.
"""
