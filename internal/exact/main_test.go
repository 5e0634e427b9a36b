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
	if len(os.Args) > 1 && os.Args[1] == foreignCommand {
		os.Exit(runForeign())
	}
	// The shells must not ignore these signals. If this process ignored a
	// signal, the shells would inherit that, so this process receives it
	// instead.
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGQUIT, syscall.SIGHUP} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // tests spend most of their time waiting
		panic(err)
	}
	goleak.VerifyTestMain(leakCheck{m}, goleak.IgnoreCurrent())
}

// leakCheck makes the test binary fail if the tests leave processes behind.
type leakCheck struct{ *testing.M }

func (g leakCheck) Run() int {
	code := g.M.Run()
	for _, process := range leftoverProcesses() {
		fmt.Fprintln(os.Stderr, "leftover process:", process)
		code = 1
	}
	return code
}
