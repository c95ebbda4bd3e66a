"""The race: prefork-init beside its peers, in one run, by one command. See __main__.py."""
