// Package alicloudkms is like awskms.
package alicloudkms

import "github.com/hashicorp/go-kms-wrapping/wrappers/awskms/v2"

var NewWrapper = awskms.NewWrapper
