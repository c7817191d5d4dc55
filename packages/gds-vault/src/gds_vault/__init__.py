"""A client for HashiCorp Vault and OpenBao."""
