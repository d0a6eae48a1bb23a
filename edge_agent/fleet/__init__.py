"""The backend's side: the reference ingest, which keeps in PostgreSQL what gateways deliver and proves it whole."""
