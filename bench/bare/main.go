// Command bare runs one command in a container with package bareclient. It
// takes the place of kshell and kubectl in the benchmarks, to show the limit of
// the connection:
//
//	TOKEN=... bare -server HOST:PORT -ca FILE -n NAMESPACE -pod POD -c CONTAINER [-i] -- COMMAND
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"kshell/bench/bareclient"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run() error {
	server := bareclient.Server{Token: os.Getenv("TOKEN")}
	var exec bareclient.Exec
	flag.StringVar(&server.Host, "server", "", "`host:port` of the API server")
	flag.StringVar(&server.Name, "server-name", "", "name in the server's certificate")
	ca := flag.String("ca", "", "`file` with the server's CA")
	flag.StringVar(&exec.Namespace, "n", "default", "namespace")
	flag.StringVar(&exec.Pod, "pod", "", "pod")
	flag.StringVar(&exec.Container, "c", "", "container")
	flag.BoolVar(&exec.Stdin, "i", false, "send stdin")
	flag.StringVar(&exec.Protocol, "protocol", bareclient.V5, "subprotocol")
	flag.Parse()
	exec.Command = flag.Args()
	var err error
	if server.CA, err = os.ReadFile(*ca); err != nil {
		return err
	}
	conn, err := bareclient.Dial(context.Background(), server, exec)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	if exec.Stdin {
		go func() { sent <- send(conn) }()
	} else {
		sent <- nil
	}
	if err := conn.Copy(os.Stdout, os.Stderr); err != nil {
		return err
	}
	return errors.Join(<-sent, conn.Close())
}

// send sends stdin to its end.
func send(conn *bareclient.Conn) error {
	buf := make([]byte, bareclient.MaxPayload)
	for {
		n, err := os.Stdin.Read(buf)
		if n > 0 {
			if _, err := conn.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return conn.CloseStdin()
		}
		if err != nil {
			return err
		}
	}
}
