// Package azurekeyvault is like awskms.
package azurekeyvault

import "github.com/hashicorp/go-kms-wrapping/wrappers/awskms/v2"

var NewWrapper = awskms.NewWrapper
