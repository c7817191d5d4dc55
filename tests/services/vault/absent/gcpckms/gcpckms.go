// Package gcpckms is like awskms.
package gcpckms

import "github.com/hashicorp/go-kms-wrapping/wrappers/awskms/v2"

var NewWrapper = awskms.NewWrapper
