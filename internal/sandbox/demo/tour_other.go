//go:build !unix

package main

import (
	"context"
	"errors"
	"os"
)

func runTour(context.Context, *stage, options, *os.File, *os.File) error {
	return errors.New("the tour needs Linux or macOS")
}
