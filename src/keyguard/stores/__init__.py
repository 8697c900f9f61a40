"""Where keys and owners are kept: one file for each kind of store, imported by its own path.

- `keyguard.stores.memory.MemoryStore`: dictionaries, for tests and demos.
- `keyguard.stores.static.StaticStore`: a mapping or a TOML file of digests, for services that want three keys.
- `keyguard.stores.sql.SQLStore`: a database.
"""
