package apiclient

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// roundTripper answers without a socket, because the fake clock of synctest
// stops while a goroutine waits for a socket.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// endless is a body that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, strings.Repeat("x", len(p))), nil }

func answer(code int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(body)}
}

func TestTimeout(t *testing.T) {
	hanging := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	stalling := func(r *http.Request) (*http.Response, error) {
		body, w := io.Pipe()
		go func() {
			<-r.Context().Done()
			_ = w.CloseWithError(r.Context().Err())
		}()
		return answer(http.StatusOK, body), nil
	}
	for _, tt := range []struct {
		name       string
		server     roundTripper
		configured time.Duration
		want       time.Duration
	}{
		{"no answer", hanging, 0, DefaultTimeout},
		{"no answer, with a timeout", hanging, 2 * time.Second, 2 * time.Second},
		{"no body", stalling, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := New(&rest.Config{Host: "http://server", Timeout: tt.configured, Transport: tt.server})
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				resp, err := client.Get("http://server/api")
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				var late *TimeoutError
				if !errors.As(err, &late) ||
					late.Error() != fmt.Sprintf("no answer from http://server within %v", tt.want) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(begin); took != tt.want {
					t.Errorf("took %v", took)
				}
				synctest.Wait()
			})
		})
	}
}

func TestTimeout_DoesNotEndStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := New(
			&rest.Config{
				Host:    "http://server",
				Timeout: 2 * time.Second,
				Transport: roundTripper(func(*http.Request) (*http.Response, error) {
					body, w := io.Pipe()
					time.AfterFunc(time.Hour, func() {
						_, _ = w.Write([]byte("late"))
						_ = w.Close()
					})
					return answer(http.StatusOK, body), nil
				}),
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		req, _ := http.NewRequestWithContext(StreamContext(t.Context()), http.MethodGet, "http://server/watch", nil)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); string(text) != "late" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	})
}

func TestBodyLimit(t *testing.T) {
	for _, tt := range []struct {
		name  string
		code  int
		class class
		limit int64 // 0: none
	}{
		{"object", 200, object, MaxObject},
		{"page", 200, page, MaxPage},
		{"error for a page", 500, page, MaxObject},
		{"error for a stream", 500, stream, MaxObject},
		{"stream", 200, stream, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := New(
				&rest.Config{
					Host: "http://server",
					Transport: roundTripper(func(*http.Request) (*http.Response, error) {
						return answer(tt.code, io.LimitReader(endless{}, MaxPage+100)), nil
					}),
				},
			)
			if err != nil {
				t.Fatal(err)
			}
			ctx := t.Context()
			switch tt.class {
			case page:
				ctx = PageContext(ctx)
			case stream:
				ctx = StreamContext(ctx)
			}
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://server/x", nil)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			var large *TooLargeError
			text := fmt.Sprintf("the server's answer is larger than %d MiB", tt.limit>>20)
			switch {
			case tt.limit == 0:
				if n != MaxPage+100 || err != nil {
					t.Errorf("%d bytes, %v", n, err)
				}
			case n != tt.limit || !errors.As(err, &large) || large.Error() != text:
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}

func TestBodyLimit_ExactSizeIsNoError(t *testing.T) {
	client, err := New(
		&rest.Config{Host: "http://server", Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return answer(200, io.LimitReader(endless{}, MaxObject)), nil
		})},
	)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get("http://server/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != MaxObject || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A long Retry-After is dropped, so that client-go returns the error and does
// not wait.
func TestRetryAfter_IsLimited(t *testing.T) {
	for wanted, kept := range map[string]bool{"1": true, "3": true, "4": false, "86400": false} {
		h := http.Header{"Retry-After": {wanted}}
		dropLongRetryAfter(h)
		if got := h.Get("Retry-After") != ""; got != kept {
			t.Errorf("Retry-After: %s: kept %v", wanted, got)
		}
	}
}

func TestIsNotFound(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	unexpected := apierrors.NewGenericServerResponse(404, "get", pods, "web", "404 page not found", 0, true)
	for _, tt := range []struct {
		name              string
		err               error
		notFound, foreign bool
	}{
		{"the API server's Status", apierrors.NewNotFound(pods, "web"), true, false},
		{"with the kind as the resource", apierrors.NewNotFound(schema.GroupResource{Resource: "Pod"}, "web"), true, false},
		{"about another pod", apierrors.NewNotFound(pods, "db"), false, true},
		{"about another kind", apierrors.NewNotFound(schema.GroupResource{Resource: "services"}, "web"), false, true},
		{
			"without details",
			&apierrors.StatusError{ErrStatus: metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound}},
			false,
			true,
		},
		{"plain text", unexpected, false, true},
		{"another error", apierrors.NewForbidden(pods, "web", errors.New("no")), false, false},
		{"no answer", io.EOF, false, false},
		{"no error", nil, false, false},
	} {
		if got := IsNotFound(tt.err, "pods", "web"); got != tt.notFound {
			t.Errorf("%s: IsNotFound: %v", tt.name, got)
		}
		if got := IsForeign(tt.err, "pods", "web"); got != tt.foreign {
			t.Errorf("%s: foreign: %v", tt.name, got)
		}
	}
	if !IsConflict(apierrors.NewConflict(pods, "web", errors.New("uid")), "pods", "web") ||
		IsConflict(
			&apierrors.StatusError{ErrStatus: metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict}},
			"pods",
			"web",
		) {
		t.Error("conflict")
	}
}

// The limit applies to the decompressed body.
func TestBodyLimit_CountsAfterDecompression(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(bomb))
	t.Cleanup(server.Close)
	client, err := New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var large *TooLargeError
	if n, err := io.Copy(io.Discard, resp.Body); n != MaxObject || !errors.As(err, &large) {
		t.Errorf("%d bytes, %v", n, err)
	}
}
