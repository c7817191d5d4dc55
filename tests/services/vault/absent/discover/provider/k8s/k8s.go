// Package k8s stands for the provider of that name.
package k8s

type Provider struct{}
