package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/stream"
)

// fakeProgram is a Program whose Load calls load. Its other methods panic.
type fakeProgram struct {
	Program
	load func() (*kubeconfig.Loaded, error)
}

func (p fakeProgram) Load() (*kubeconfig.Loaded, error) { return p.load() }

// run calls Run with a Program, and returns the results by ID, the number of
// failures, and the error.
func run(ctx context.Context, p Program) (map[string]Result, int, error) {
	results := map[string]Result{}
	hint := func(text string) string { return text }
	failed, err := Run(ctx, Options{Name: "kshell", Program: p, Hint: hint, Agents: true},
		func(string) {}, func(r Result) { results[r.ID] = r })
	return results, failed, err
}

func TestRun_SkipsDependentChecks(t *testing.T) {
	problem := notice.WithHint(
		errors.New("no\x1b[2J such file at https://ann:secret@host/x?token=secret"), "type `x`\nor y")
	p := fakeProgram{load: func() (*kubeconfig.Loaded, error) { return nil, problem }}
	results, failed, err := run(t.Context(), p)
	if failed != 1 || err != nil {
		t.Errorf("%d failed, %v", failed, err)
	}
	want := Result{
		ID: "kubeconfig", Group: "configuration", Status: Failed, Hint: "type `x`\nor y",
		Message: `no\x1b[2J such file at https://host/x?…`,
	}
	if diff := cmp.Diff(want, results["kubeconfig"], cmpopts.IgnoreFields(Result{}, "Milliseconds")); diff != "" {
		t.Error(diff)
	}
	for _, c := range checks() {
		r := results[c.id]
		switch c.id {
		case "kubeconfig":
		case "agents":
			if r.Status != OK {
				t.Errorf("%+v", r)
			}
		default:
			reason := strings.HasSuffix(r.Message, " was skipped") || strings.HasSuffix(r.Message, " has failed")
			if r.Status != Skipped || !reason {
				t.Errorf("%s: %+v", c.id, r)
			}
		}
	}
}

func TestRun_EndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	left := errors.New("left")
	results, _, err := run(ctx, fakeProgram{load: func() (*kubeconfig.Loaded, error) {
		cancel(left)
		return nil, ctx.Err()
	}})
	if len(results) > 0 || !errors.Is(err, left) {
		t.Errorf("%v, %v", results, err)
	}
}

func TestDiagnosis_TimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diagnosis{Options: Options{Limit: 3 * time.Second}}
		start := time.Now()
		f := d.make(t.Context(), check{id: "x", run: func(ctx context.Context, _ *diagnosis) finding {
			<-ctx.Done()
			return failure(ctx, fmt.Errorf("wrapped: %w", context.Cause(ctx)))
		}}, nil)
		if f.status != Failed || f.message != "the check has not ended within 3s" || time.Since(start) != 3*time.Second {
			t.Errorf("%+v after %v", f, time.Since(start))
		}
	})
}

// Each check needs only checks before it.
func TestChecks_Order(t *testing.T) {
	seen := map[string]bool{"": true}
	for _, c := range checks() {
		for _, id := range append(c.needs, c.unless) {
			if !seen[id] {
				t.Errorf("%s needs %s, which is not before it", c.id, id)
			}
		}
		if seen[c.id] {
			t.Errorf("%s is listed twice", c.id)
		}
		seen[c.id] = true
	}
}

func TestText(t *testing.T) {
	var text Text
	out := text.Format(Result{ID: "a", Group: configuration, Status: OK, Message: "fine", Milliseconds: 5}) +
		text.Format(Result{ID: "b", Group: network, Status: OK, Message: "fine", Milliseconds: 5.25}) +
		text.Format(Result{
			ID: "c", Group: network, Status: Failed, Message: "bad", Milliseconds: 1234,
			Details: []string{"more"}, Hint: "one\ntwo",
		}) +
		text.Format(Result{ID: "d", Group: network, Status: Skipped, Message: "c has failed", Milliseconds: 1}) +
		text.Summary()
	want := `configuration
  ok       a                  fine

network
  ok       b                  fine (5.2 ms)
  failed   c                  bad (1.2 s)
           more
           hint: one
           hint: two
  skipped  d                  c has failed

4 checks: 2 ok, 1 failed, 1 skipped
`
	if diff := cmp.Diff(want, out); diff != "" {
		t.Error(diff)
	}
	if colored := (&Text{Color: true}).Format(Result{Status: Failed}); !strings.Contains(colored, "\x1b[0;31mfailed") {
		t.Errorf("%q", colored)
	}
}

func TestResult_Refusal(t *testing.T) {
	f := failure(t.Context(), fmt.Errorf("x: %w", &stream.HandshakeError{StatusCode: 414}))
	if r := (&diagnosis{Options: Options{Hint: func(s string) string { return s }}}).
		result(check{id: "x"}, f, time.Second); r.Refusal != "too-long" || r.Milliseconds != 1000 {
		t.Errorf("%+v", r)
	}
}

// Without a resourceVersion, an API server with a watch cache may take up to 3 seconds to
// answer a watch (measured with Kubernetes 1.37).
func TestDiagnosis_IdleRequestResourceVersion(t *testing.T) {
	d := &diagnosis{conn: &kubeconfig.Connection{Namespace: "default"}}
	if got := d.idleRequest().Query.Get("resourceVersion"); got != "0" {
		t.Errorf("resourceVersion %q, want 0", got)
	}
}

func TestIsBefore(t *testing.T) {
	for version, want := range map[string]bool{
		"v1.34.9": true, "v1.35.0": false, "v1.35.0-eks-1": false, "v2.0.0": false, "v0.9": true, "": false, "x": false,
	} {
		if got := (&diagnosis{version: version}).isBefore(1, 35); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
