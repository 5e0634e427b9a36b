package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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
	"kshell/internal/script"
	"kshell/internal/terminal"
)

// manifestFlags select the target with a manifest, as kubectl exec -f does.
type manifestFlags struct{ files []string }

func (f *manifestFlags) addTo(flags *pflag.FlagSet) {
	// kubectl's flag is a slice, which splits its value at commas. This flag
	// does not, because a file name may contain commas.
	flags.StringArrayVarP(&f.files, filenameFlag, "f", nil,
		"read the pod or TYPE/NAME from this YAML or JSON `FILE`, a URL, or - for stdin")
}

const filenameFlag = "filename"

// stdinManifest is the value of -f for a manifest on stdin.
const stdinManifest = "-"

// manifest returns the value of -f, or "" without -f. args are the arguments
// before --. It is an error if both -f and args select a pod.
func (f *manifestFlags) manifest(cmd *cobra.Command, args []string) (string, error) {
	switch {
	case len(f.files) == 0:
		return "", nil
	case len(f.files) > 1:
		return "", usage(cmd, "-f can be used only once: the command runs in the pod of one object")
	case len(args) > 0:
		return "", outcome.NewUsageError(
			fmt.Sprintf("-f and %s cannot be used together: each selects the pod", strconv.Quote(args[0])),
			fmt.Sprintf("type `%s -f %s -- COMMAND`, or omit -f", cmd.CommandPath(), script.Quote(redactURL(f.files[0]))),
		)
	case f.files[0] == "":
		return "", usage(cmd, "-f must not be empty")
	}
	return f.files[0], nil
}

// checkManifest returns an error if both the manifest and the command's input
// would be read from stdin.
func (p *execPlan) checkManifest() error {
	if p.manifest != stdinManifest || !p.stdin || p.script.stdinFile != "" {
		return nil
	}
	return outcome.NewUsageError(
		"stdin cannot be both the manifest (-f -) and the input of the command",
		"-f FILE, or --stdin-file FILE for the input",
	)
}

// applyManifest sets the target and the namespace from the manifest of the
// plan, if there is one.
func (a *app) applyManifest(ctx context.Context, p *execPlan) error {
	if p.manifest == "" {
		return nil
	}
	text, err := a.openManifest(ctx, p.manifest)
	if err != nil {
		return fmt.Errorf("-f %s: %w", redactURL(p.manifest), err)
	}
	defer func() { _ = text.Close() }() // it was only read
	target, namespace, err := pod.ParseManifest(text)
	if err != nil {
		return fmt.Errorf("-f %s: %w", redactURL(p.manifest), outcome.ContextCause(ctx, err))
	}
	switch {
	case namespace == "":
	case a.kube.Namespace == "":
		a.kube.Namespace = namespace
	case a.kube.Namespace != namespace:
		return outcome.NewUsageError( // the same message as kubectl's
			fmt.Sprintf("the namespace from the provided object %s does not match the namespace %s",
				strconv.Quote(namespace), strconv.Quote(a.kube.Namespace)),
			fmt.Sprintf("you must pass '--namespace=%s' to perform this operation", namespace),
		)
	}
	p.target = target
	a.notice.Detail("-f %s: %s", redactURL(p.manifest), target)
	return nil
}

// openManifest opens a file, a URL, or stdin.
func (a *app) openManifest(ctx context.Context, name string) (io.ReadCloser, error) {
	switch scheme, _, isURL := strings.Cut(name, "://"); {
	case name == stdinManifest:
		return a.stdin(ctx)
	case isURL && (scheme == "http" || scheme == "https"):
		return download(ctx, name)
	case isURL:
		return nil, outcome.NewUsageError(
			"the URL must begin with http:// or https://", "download the file, and type -f FILE",
		)
	}
	file, err := os.Open(name) //nolint:gosec // the user named the file
	if err != nil {
		return nil, withoutPath(err) // the caller adds the name
	}
	return file, nil
}

// stdin returns a reader of kshell's stdin. Canceling ctx ends a Read.
func (a *app) stdin(ctx context.Context) (io.ReadCloser, error) {
	input, err := terminal.NewInput(a.In)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { input.Cancel() })
	return readCloser{input, func() error { stop(); input.Cancel(); return nil }}, nil
}

// readCloser adds a Close method to a reader.
type readCloser struct {
	io.Reader
	close func() error
}

// Close implements io.Closer.
func (r readCloser) Close() error { return r.close() }

const (
	downloadTimeout = 30 * time.Second
	maxDownload     = 16<<20 + 1 // bytes; one more than pod.ParseManifest accepts, so that it reports an error
)

// download downloads a manifest. No error contains the URL.
func download(ctx context.Context, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil) //nolint:gosec // the user named the URL
	if err != nil {
		return nil, outcome.NewUsageError("the URL is invalid", "type it as https://HOST/PATH")
	}
	req.Header.Set("User-Agent", "kshell/"+version)
	client := &http.Client{Timeout: downloadTimeout, Transport: kubeconfig.SameOrigin(http.DefaultTransport)}
	resp, err := client.Do(req) //nolint:gosec // the user named the URL
	if err != nil {
		return nil, outcome.ContextCause(ctx, withoutURL(err))
	}
	defer client.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDownload))
	return io.NopCloser(bytes.NewReader(text)), outcome.ContextCause(ctx, err)
}

// withoutURL removes the URL that net/http adds to errors, because the URL may
// contain a token. applyManifest adds the URL without the token.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// redactURL returns the name of a manifest for messages. If it is a URL, user
// info, query and fragment are removed; if it cannot be parsed, only the scheme
// is left.
func redactURL(name string) string {
	scheme, _, isURL := strings.Cut(name, "://")
	if !isURL {
		return name
	}
	u, err := url.Parse(name)
	if err != nil || u.Host == "" {
		return scheme + "://…"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
