"""What the operator's command costs, and what it costs the workers: ``make bench-operator``."""  # noqa: A005 - nobody imports it by this name alone
