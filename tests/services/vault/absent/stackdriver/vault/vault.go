// Package vault stands for github.com/google/go-metrics-stackdriver/vault.
package vault

var Extractor, Bucketer any
