"""One file a command; each command is a frozen dataclass whose fields are its options."""
