package exact

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

var runs = flag.Int("runs", 30, "random runs of each shell")

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == nonblockingCommand {
		os.Exit(runNonblocking())
	}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGQUIT, syscall.SIGHUP} { // the shells inherit what is ignored
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // most of them wait most of the time
		panic(err)
	}
	goleak.VerifyTestMain(leakCheck{m}, goleak.IgnoreCurrent())
}

// guard fails a package that leaves processes behind.
type leakCheck struct{ *testing.M }

func (g leakCheck) Run() int {
	code := g.M.Run()
	for _, process := range leftoverProcesses() {
		fmt.Fprintln(os.Stderr, "left behind:", process)
		code = 1
	}
	return code
}
