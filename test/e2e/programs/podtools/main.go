// Command podtools is all that the images without a shell hold: a few tools in one static binary, chosen by the name it is called
// by. As `pause` it is the process that keeps a pod's namespaces.
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
	case "sleep": // for ever, until SIGTERM
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
		fmt.Fprintf(os.Stderr, "podtools: %q is none of pause, sleep, hello, args, cat, exit\n", name)
		os.Exit(2)
	}
}

// pause waits for the end and buries the orphans of the pod meanwhile.
func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	tick := time.NewTicker(time.Minute) // a second SIGCHLD while one is pending is not told
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
