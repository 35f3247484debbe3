"""Connections to PostgreSQL and SQLite, transactions, column types and the declarative base."""
