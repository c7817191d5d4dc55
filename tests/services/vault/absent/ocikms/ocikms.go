// Package ocikms is like awskms.
package ocikms

import "github.com/hashicorp/go-kms-wrapping/wrappers/awskms/v2"

var NewWrapper = awskms.NewWrapper

const KmsConfigKeyId, KmsConfigCryptoEndpoint, KmsConfigManagementEndpoint = "key_id", "crypto_endpoint", "management_endpoint"
