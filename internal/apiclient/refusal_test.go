package apiclient

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

// explained is a Refusal.
type explained struct{ permanent bool }

func (explained) Error() string     { return "the front refused" }
func (explained) Hint() string      { return "ask the front" }
func (e explained) Permanent() bool { return e.permanent }
func (explained) HTTPStatus() int   { return http.StatusBadGateway }

// explaining is a transport that attaches refusal to each answer that is not
// 200 or is a web page.
type explaining struct {
	http.RoundTripper
	refusal Refusal
}

func (t explaining) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err == nil && (resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") == "text/html") {
		resp.Body = explainedBody{resp.Body, t.refusal}
	}
	return resp, err
}

type explainedBody struct {
	io.ReadCloser
	refusal Refusal
}

func (b explainedBody) Refusal() error { return b.refusal }

// explainedClient returns a client of a server that answers with codes, one
// after the other, and then with 200. Those with codes are web pages.
func explainedClient(t *testing.T, permanent bool, codes ...int) (client *http.Client, url string, requests *int) {
	t.Helper()
	requests = new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		*requests++
		if *requests <= len(codes) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(codes[*requests-1])
		}
	}))
	t.Cleanup(server.Close)
	cfg := &rest.Config{Host: server.URL}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return explaining{next, explained{permanent}} })
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client, server.URL, requests
}

func get(ctx context.Context, t *testing.T, client *http.Client, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func TestNew_ExplainedAnswersAreErrors(t *testing.T) {
	for _, code := range []int{200, 302, 401, 404, 502} {
		client, url, _ := explainedClient(t, false, code)
		err := get(t.Context(), t, client, url)
		if AsRefusal(err) == nil || Plain(err).Error() != "the front refused" || Hint(err) != "ask the front" {
			t.Errorf("%d: got %v, hint %q", code, err, Hint(err))
		}
	}
}

func TestIsTransient_Refusal(t *testing.T) {
	for _, permanent := range []bool{false, true} {
		client, url, _ := explainedClient(t, permanent, 404)
		if err := get(t.Context(), t, client, url); IsTransient(err) == permanent {
			t.Errorf("permanent %v: transient %v", permanent, IsTransient(err))
		}
	}
}

// client-go runs the plugin again after a 401, so the answer must reach it. The
// request is then repeated once. If the answer to that is also 401, the plugin
// does not run again.
func TestNew_PluginRunsAgainAfterExplainedAnswer(t *testing.T) {
	var want string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != want {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	count := t.TempDir() + "/count"
	cfg := &rest.Config{Host: server.URL, ExecProvider: &api.ExecConfig{
		Command: "sh", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: api.NeverExecInteractiveMode,
		Args: []string{"-c", `echo >> ` + count + `; n=$(wc -l < ` + count + `)
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$((n))'"}}'`},
	}}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return explaining{next, explained{}} })
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want = "Bearer 2"
	if err := get(t.Context(), t, client, server.URL); err != nil {
		t.Errorf("first request: got %v", err)
	}
	want = "none"
	if err := get(t.Context(), t, client, server.URL); AsRefusal(err) == nil {
		t.Errorf("second request: got %v", err)
	}
	if runs, err := os.ReadFile(count); err != nil || len(runs) != 3 {
		t.Errorf("%d runs of the plugin, %v; want 3", len(runs), err)
	}
}

// countingRetrier allows a number of retries.
type countingRetrier struct{ retries, answered int }

func (r *countingRetrier) Retry(_ context.Context, refusal Refusal) bool {
	r.retries--
	return r.retries >= 0 && strings.Contains(refusal.Error(), "refused")
}
func (r *countingRetrier) Answered() { r.answered++ }

func TestRetryContext(t *testing.T) {
	for _, test := range []struct {
		name            string
		permanent       bool
		method          string
		retries         int
		requests        int
		refused         bool
		answered        int
		withoutRetrying bool
	}{
		{name: "repeated until it is answered", retries: 5, requests: 3, answered: 1},
		{name: "repeated as often as allowed", retries: 1, requests: 2, refused: true},
		{name: "permanent", permanent: true, retries: 5, requests: 1, refused: true},
		{name: "not a GET", method: http.MethodPost, retries: 5, requests: 1, refused: true},
		{name: "no RetryContext", withoutRetrying: true, requests: 1, refused: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, url, requests := explainedClient(t, test.permanent, 502, 404)
			r := &countingRetrier{retries: test.retries}
			ctx := RetryContext(t.Context(), r)
			if test.withoutRetrying {
				ctx = t.Context()
			}
			req, err := http.NewRequestWithContext(ctx, test.method, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			if *requests != test.requests || (AsRefusal(err) != nil) != test.refused || r.answered != test.answered {
				t.Errorf("%d requests, answered %d, error %v", *requests, r.answered, err)
			}
		})
	}
}

func TestAsRefusal_OtherErrors(t *testing.T) {
	for _, err := range []error{nil, errors.New("x"), &PageError{200}} {
		if AsRefusal(err) != nil {
			t.Errorf("%v is a Refusal", err)
		}
	}
}
