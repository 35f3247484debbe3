"""Claim by the database's driver alone, with statements that are kept as texts.

A process that claims once would otherwise spend most of its time on loading SQLAlchemy. Only hits are made here; for a
miss, a repeated request, a second choice, an owner at a limit and every error the claim is made again in the usual way,
with the same request id, so that it is made at most once.
"""
