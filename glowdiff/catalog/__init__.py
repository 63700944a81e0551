"""Which methods, networks and parts there are; from files and flags to checked configurations."""
