// Command podtools is the content of images without a shell: a few tools in one
// static binary. The name under which it is started selects the tool. As
// `pause`, it is the process that keeps the namespaces of a pod.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	switch name {
	case "pause":
		pause()
	case "sleep": // until SIGTERM
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
	case "hello":
		fmt.Println("hello from a container without a shell")
	case "args":
		for _, a := range args {
			fmt.Println(a)
		}
	case "cat":
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "exit":
		code := 0
		if len(args) > 0 {
			var err error
			if code, err = strconv.Atoi(args[0]); err != nil {
				code = 2
			}
		}
		os.Exit(code)
	default:
		fmt.Fprintf(os.Stderr, "podtools: unknown tool %q: want pause, sleep, hello, args, cat or exit\n", name)
		os.Exit(2)
	}
}

// pause waits for a signal, and reaps orphans of the pod.
func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	tick := time.NewTicker(time.Minute) // SIGCHLD signals can be merged
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-died:
		case <-tick.C:
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}
