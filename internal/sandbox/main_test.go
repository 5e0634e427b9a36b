//go:build unix

package sandbox_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil { // most tests are idle most of the time
		panic(err)
	}
	goleak.VerifyTestMain(m)
}
