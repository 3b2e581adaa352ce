"""What each operation costs, as a ratio to the bare libraries below it; see README.md."""
