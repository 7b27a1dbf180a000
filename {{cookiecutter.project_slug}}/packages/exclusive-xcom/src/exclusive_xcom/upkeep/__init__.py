"""What goes when: finds payloads that no row refers to, and deletes them. No push and no pull imports it."""
