// Package monitoring stands for cloud.google.com/go/monitoring/apiv3.
package monitoring

import (
	"context"
	"errors"
)

func NewMetricClient(context.Context, any) (any, error) {
	return nil, errors.New("stackdriver is not built into the server of the tests")
}
