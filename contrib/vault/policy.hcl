# All that a program needs which reads the secrets under "myapp" of the KV store, version 2, at "secret":
#
#   vault policy write myapp policy.hcl
#   vault write auth/approle/role/myapp token_policies=myapp token_no_default_policy=true token_ttl=1h token_max_ttl=24h

path "secret/data/myapp/*" {
  capabilities = ["read"]
}

# For list_secrets(); leave it out where nothing lists.
path "secret/metadata/myapp/*" {
  capabilities = ["list"]
}

# How long its own token lasts, and to make it last.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}
