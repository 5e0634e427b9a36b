package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/terminal"
)

// manifestFlags select the target by a manifest file, as kubectl exec -f does.
type manifestFlags struct{ files []string }

func (f *manifestFlags) addTo(flags *pflag.FlagSet) {
	// Unlike kubectl's flag, this is not a slice, which would split a name at commas.
	flags.StringArrayVarP(&f.files, filenameFlag, "f", nil, "take the pod or TYPE/NAME from this `FILE`, a URL, or - for stdin: YAML or JSON")
}

const filenameFlag = "filename"

// fromStdin is the name of a manifest that is read from stdin.
const fromStdin = "-"

// manifest returns the file of -f, or "". named are the other arguments that select a
// pod.
func (f *manifestFlags) manifest(cmd *cobra.Command, named []string) (string, error) {
	switch {
	case len(f.files) == 0:
		return "", nil
	case len(f.files) > 1:
		return "", usage(cmd, "-f may be there once: a command runs in the pod of one object")
	case len(named) > 0:
		return "", outcome.NewUsageError(
			fmt.Sprintf("-f says which pod, and so does %s", strconv.Quote(named[0])),
			fmt.Sprintf("%s -f %s -- COMMAND, or leave -f out", cmd.CommandPath(), shown(f.files[0])),
		)
	case f.files[0] == "":
		return "", usage(cmd, "-f names no file")
	}
	return f.files[0], nil
}

// checkManifest returns an error if both the manifest and the command's input would be
// read from stdin.
func (p *execPlan) checkManifest() error {
	if p.manifest != fromStdin || !p.stdin || p.script.stdinFile != "" {
		return nil
	}
	return outcome.NewUsageError("stdin cannot be the file for -f and the command's input", "name a file, or give the input as --stdin-file FILE")
}

// aim sets the target and the namespace from the plan's manifest, if there is one.
func (a *app) aim(ctx context.Context, p *execPlan) error {
	if p.manifest == "" {
		return nil
	}
	text, err := a.openManifest(ctx, p.manifest)
	if err != nil {
		return fmt.Errorf("-f %s: %w", shown(p.manifest), err)
	}
	defer func() { _ = text.Close() }() // it was only read
	target, namespace, err := pod.ParseManifest(text)
	if err != nil {
		return fmt.Errorf("-f %s: %w", shown(p.manifest), outcome.ContextCause(ctx, err))
	}
	switch {
	case namespace == "":
	case a.kube.Namespace == "":
		a.kube.Namespace = namespace
	case a.kube.Namespace != namespace:
		return outcome.NewUsageError( // kubectl's words
			fmt.Sprintf("the namespace from the provided object %s does not match the namespace %s", strconv.Quote(namespace), strconv.Quote(a.kube.Namespace)),
			fmt.Sprintf("you must pass '--namespace=%s' to perform this operation", namespace),
		)
	}
	p.target = target
	a.notice.Detail("-f %s: %s", shown(p.manifest), target)
	return nil
}

func (a *app) openManifest(ctx context.Context, name string) (io.ReadCloser, error) {
	switch scheme, _, isURL := strings.Cut(name, "://"); {
	case name == fromStdin:
		return a.stdin(ctx)
	case isURL && (scheme == "http" || scheme == "https"):
		return download(ctx, name)
	case isURL:
		return nil, outcome.NewUsageError("only http and https are fetched", "download the file, and name that")
	}
	file, err := os.Open(name) //nolint:gosec // the user named the file
	var said *fs.PathError
	if errors.As(err, &said) {
		return nil, said.Err // the caller adds the name
	}
	return file, err
}

// stdin returns the program's stdin. Canceling ctx ends its Read.
func (a *app) stdin(ctx context.Context) (io.ReadCloser, error) {
	input, err := terminal.NewInput(a.In)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { input.Cancel() })
	return closing{input, func() error { stop(); input.Cancel(); return nil }}, nil
}

// closing is a reader that can be closed.
type closing struct {
	io.Reader
	close func() error
}

// Close implements io.Closer.
func (c closing) Close() error { return c.close() }

const (
	fetching    = 30 * time.Second // the time limit of a download
	maxDownload = 16<<20 + 1       // bytes: one more than pod.ParseManifest accepts, so that it returns the error
)

// download gets a manifest from a URL.
func download(ctx context.Context, address string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) //nolint:gosec // the user named the URL
	if err != nil {
		return nil, outcome.NewUsageError("the address cannot be read", "write it as https://HOST/PATH")
	}
	request.Header.Set("User-Agent", "kshell/"+version)
	client := &http.Client{Timeout: fetching, Transport: kubeconfig.SameOrigin(http.DefaultTransport)}
	answer, err := client.Do(request) //nolint:gosec // the user named the URL
	if err != nil {
		return nil, outcome.ContextCause(ctx, withoutAddress(err))
	}
	defer client.CloseIdleConnections()
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxDownload))
	return io.NopCloser(bytes.NewReader(text)), outcome.ContextCause(ctx, err)
}

// withoutAddress removes the URL that net/http puts before its errors: the caller adds
// it, and it may contain a token.
func withoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// shown returns a manifest's name for use in a message. It removes user info, query
// and fragment from a URL, and everything but the scheme from one that cannot be
// parsed.
func shown(name string) string {
	scheme, _, isURL := strings.Cut(name, "://")
	if !isURL {
		return name
	}
	address, err := url.Parse(name)
	if err != nil || address.Host == "" {
		return scheme + "://…"
	}
	address.User, address.RawQuery, address.Fragment = nil, "", ""
	return address.String()
}
