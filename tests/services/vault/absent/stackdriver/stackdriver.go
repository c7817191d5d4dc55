// Package stackdriver stands, with the packages below it, for what sends Vault's own metrics to Google's cloud.
package stackdriver

import "github.com/armon/go-metrics"

type Config struct {
	LabelExtractor, Bucketer       any
	ProjectID, Location, Namespace string
	DebugLogs                      bool
}

func NewSink(any, *Config) metrics.MetricSink { return &metrics.BlackholeSink{} }
