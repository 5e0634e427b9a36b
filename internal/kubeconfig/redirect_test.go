package kubeconfig

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// closeRecorder is a body that records that it was closed.
type closeRecorder struct {
	io.Reader
	closed bool
}

func (c *closeRecorder) Close() error {
	c.closed = true
	return nil
}

func TestSameOrigin_Redirects(t *testing.T) {
	const base = "https://one.example/api"
	for name, test := range map[string]struct {
		url      string
		code     int
		location string
		refused  string // the location in the error; "" if the response is returned
	}{
		"no redirect":                  {base, 200, "https://two.example/", ""},
		"not modified":                 {base, 304, "https://two.example/", ""},
		"no location":                  {base, 302, "", ""},
		"path":                         {base, 302, "/login", ""},
		"same host":                    {base, 301, "https://one.example/login", ""},
		"same host in capitals":        {base, 303, "HTTPS://ONE.example/login", ""},
		"https port is added":          {base, 307, "https://one.example:443/", ""},
		"https port is left out":       {"https://one.example:443/", 308, "https://one.example/", ""},
		"http port is added":           {"http://one.example/", 302, "http://one.example:80/", ""},
		"host":                         {base, 301, "https://two.example/", "https://two.example/"},
		"host without a scheme":        {base, 302, "//two.example/", "https://two.example/"},
		"scheme":                       {base, 303, "http://one.example/", "http://one.example/"},
		"scheme with the port of both": {"https://one.example:80/", 302, "http://one.example/", "http://one.example/"},
		"port":                         {base, 307, "https://one.example:8443/", "https://one.example:8443/"},
		"http port on https":           {base, 308, "https://one.example:80/", "https://one.example:80/"},
		"secrets": {
			base, 302, "https://u:hunter2@two.example/a?token=hunter2#hunter2", "https://two.example/a",
		},
		"not a URL": {base, 302, "https://two.example:hunter2/", "an address that cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			body := &closeRecorder{Reader: strings.NewReader("")}
			rt := SameOrigin(roundTrip(func(*http.Request) (*http.Response, error) {
				header := http.Header{}
				if test.location != "" {
					header.Set("Location", test.location)
				}
				return &http.Response{StatusCode: test.code, Header: header, Body: body}, nil
			}))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rt.RoundTrip(req)
			if err == nil {
				defer func() { _ = resp.Body.Close() }()
			}
			var redirect *RedirectError
			switch {
			case test.refused == "" && (err != nil || resp == nil || resp.StatusCode != test.code || body.closed):
				t.Errorf("got %v, %v, body closed: %v; want the response", resp, err, body.closed)
			case test.refused != "" && !errors.As(err, &redirect):
				t.Errorf("got %v, want a *RedirectError", err)
			case test.refused != "" && (redirect.Location != test.refused || redirect.StatusCode != test.code || !body.closed):
				t.Errorf(
					"got %+v, body closed: %v; want code %d and %s",
					redirect,
					body.closed,
					test.code,
					test.refused,
				)
			}

			req.Header.Set("Upgrade", "websocket")
			if resp, err := rt.RoundTrip(req); err != nil || resp.StatusCode != test.code {
				t.Errorf("with an Upgrade header: got %v, %v; want the response", resp, err)
			} else {
				_ = resp.Body.Close()
			}
		})
	}
}

func TestSameOrigin_ErrorIsReturned(t *testing.T) {
	failure := errors.New("connection refused")
	rt := SameOrigin(roundTrip(func(*http.Request) (*http.Response, error) { return nil, failure }))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://one.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := rt.RoundTrip(req)
	if !errors.Is(err, failure) || resp != nil {
		t.Errorf("got %v, %v, want no response and %v", resp, err, failure)
	}
	if resp != nil {
		_ = resp.Body.Close()
	}
}
