"""Everything around the mailing list: its mail servers, its workers, its people, and the judge."""
