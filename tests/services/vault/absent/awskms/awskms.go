// Package awskms stands, with its four sisters, for the seals that keep their key in a cloud, each of which brings the SDK of that cloud. A server
// of the tests has Shamir's seal.
package awskms

import (
	"context"
	"errors"

	"github.com/hashicorp/go-hclog"
	wrapping "github.com/hashicorp/go-kms-wrapping/v2"
)

type wrapper struct{ wrapping.Wrapper }

func NewWrapper() wrapping.Wrapper { return wrapper{} }

func (wrapper) SetConfig(context.Context, ...wrapping.Option) (*wrapping.WrapperConfig, error) {
	return nil, errors.New("this seal is not built into the server of the tests")
}

// WithLogger is asked for by the core, for Shamir's seal, which has no use for it.
func WithLogger(hclog.Logger) wrapping.Option { return nil }
