package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/internal/cleanup"
	"kshell/internal/outcome"
)

func TestApplyManifest_DownloadTooLarge(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for line := bytes.Repeat([]byte("# nothing\n"), 1<<16); ; {
			if _, err := w.Write(line); err != nil {
				return // the client has closed the connection
			}
		}
	}))
	defer s.Close()
	a := newTestApp()
	err := a.applyManifest(t.Context(), &execPlan{manifest: s.URL})
	code := outcome.Classify(err).ExitCode
	if err == nil || !strings.HasSuffix(err.Error(), "the manifest is larger than 16 MiB") || code != outcome.ExitUsage {
		t.Errorf("got %v, exit code %d", err, code)
	}
}

func TestApplyManifest_CtrlC(t *testing.T) {
	silent := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	defer s.Close()
	defer close(silent)
	stdin, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	defer stdin.Close()
	for _, name := range []string{s.URL, stdinManifest} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(cleanup.SignalError{Signal: syscall.SIGINT}) })
		a := newTestApp()
		a.In = stdin
		if err := a.applyManifest(ctx, &execPlan{manifest: name}); outcome.Classify(err).ExitCode != 130 {
			t.Errorf("%s: %v, exit code %d", name, err, outcome.Classify(err).ExitCode)
		}
		cancel(nil)
	}
}

func TestRedactURL(t *testing.T) {
	for name, want := range map[string]string{
		"https://me:pass@host/x.yaml?token=1#2": "https://host/x.yaml",
		"https://me@host/x@1.yaml":              "https://host/x@1.yaml",
		"https://me:pass@127.0.0.1:zz/x":        "https://…",
		"https://me:pa ss@host/x":               "https://…",
		"https://me:pa/ss@host/x":               "https://…",
		"https://me:pa%zz@host/x":               "https://…",
		"ftp://me:pass@host/x":                  "ftp://host/x",
		"https:///x?token=1":                    "https://…",
		"dir/x.yaml?y":                          "dir/x.yaml?y",
		"-":                                     "-",
	} {
		if got := redactURL(name); got != want {
			t.Errorf("%s becomes %s, want %s", name, got, want)
		}
	}
}
