"""The database: types, models, engine, set-based reads, guarded writes, migrations."""
