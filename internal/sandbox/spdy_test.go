//go:build unix

package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"kshell/internal/sandbox"
)

// execSPDY runs a command in pod web over SPDY, like kubectl before Kubernetes
// 1.31. user is the user of the sandbox whose token is sent.
func execSPDY(t *testing.T, s *sandbox.Server, user, stdin string, tty bool,
	args ...string,
) (stdout, stderr string, err error) {
	t.Helper()
	cfg := &rest.Config{Host: s.URL(), BearerToken: s.Token(user), TLSClientConfig: rest.TLSClientConfig{CAFile: s.CA()}}
	u, err := url.Parse(s.URL() + "/api/v1/namespaces/default/pods/web/exec")
	if err != nil {
		t.Fatal(err)
	}
	query := url.Values{"command": args, "stdin": {"true"}, "stdout": {"true"}}
	var out, errs bytes.Buffer
	options := remotecommand.StreamOptions{Stdin: strings.NewReader(stdin), Stdout: &out, Tty: tty}
	if tty {
		query.Set("tty", "true")
		options.TerminalSizeQueue = &oneSize{remotecommand.TerminalSize{Width: 91, Height: 31}}
	} else {
		query.Set("stderr", "true")
		options.Stderr = &errs
	}
	u.RawQuery = query.Encode()
	executor, err := remotecommand.NewSPDYExecutor(cfg, http.MethodPost, u)
	if err != nil {
		t.Fatal(err)
	}
	err = executor.StreamWithContext(t.Context(), options)
	return out.String(), errs.String(), err
}

// oneSize is a queue of terminal sizes. Its Next returns one size, then nil.
type oneSize struct{ remotecommand.TerminalSize }

func (o *oneSize) Next() *remotecommand.TerminalSize {
	if o.Width == 0 {
		return nil
	}
	size := o.TerminalSize
	o.Width = 0
	return &size
}

func TestSPDY_Exec(t *testing.T) {
	s := start(t, sandbox.Config{})
	stdout, stderr, err := execSPDY(t, s, "create-only", "text", false, "sh", "-c", "cat; echo err >&2; exit 7")
	var exit exec.CodeExitError
	if stdout != "text" || stderr != "err\n" || !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("stdout %q, stderr %q, %v", stdout, stderr, err)
	}
	stdout, _, err = execSPDY(t, s, "admin", "", true, "sh", "-c",
		`until [ "$(stty size)" = "31 91" ]; do sleep 0.01; done; echo fits`)
	if stdout != "fits\r\n" || err != nil {
		t.Errorf("stdout %q, %v", stdout, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	waitSession(ctx, t, s, func(ses sandbox.Session) bool { return len(ses.Sizes) == 1 })
	all := s.Sessions()
	if len(all) != 2 || all[0].StdinBytes != 4 || len(all[1].Sizes) != 1 ||
		all[0].Subprotocol != sandbox.SPDY+" v5.channel.k8s.io" {
		t.Errorf("sessions: %+v", all)
	}
}

func TestSPDY_NeedsCreate(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, user := range []string{"none", "get-only"} {
		_, _, err := execSPDY(t, s, user, "", false, "true")
		if err == nil || !strings.Contains(err.Error(), `cannot create resource "pods/exec"`) {
			t.Errorf("%s: %v", user, err)
		}
	}
	if n := s.Stats().Sessions; n != 0 {
		t.Errorf("%d commands have run", n)
	}
}
