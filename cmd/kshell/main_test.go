package main

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
)

// TestMain makes the test binary kshell itself when it is called by that name: that is what the scripts and the terminals run.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"kshell": main})
}

// suite is a testing.M with goleak.VerifyTestMain's check, which cannot be used as it is: both it and testscript.Main end the
// process.
type suite struct{ *testing.M }

func (s suite) Run() int {
	code := s.M.Run()
	removeBuilt()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// newApp is an app whose words and output are discarded.
func newApp() *app {
	return &app{streams: streams{Out: io.Discard, Err: io.Discard}, notice: newNotice(io.Discard), lastResort: &lastResort{}}
}
