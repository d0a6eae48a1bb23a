"""The database: outbox, ledger, retention."""
