// Package option stands for google.golang.org/api/option.
package option

func WithUserAgent(string) any { return nil }

func WithHTTPClient(any) any { return nil }
