package apiclient

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// tokenServer starts a server that accepts only the token "new". It returns the
// URL, and a function that returns the method, the token and the body of each
// request so far. The server calls refused before it answers with 401.
func tokenServer(t *testing.T, refused func()) (url string, requests func() []string) {
	t.Helper()
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 100)
		n, _ := r.Body.Read(body)
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		seen = append(seen, strings.TrimSpace(r.Method+" "+token+" "+string(body[:n])))
		if token != "new" {
			refused()
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string { return seen }
}

func checkRequests(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

func TestNew_RenewsTokenOfFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("old")
	next := "new"
	url, requests := tokenServer(t, func() { write(next) })
	client, err := New(&rest.Config{Host: url, BearerTokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Post(url, "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
	checkRequests(t, requests(), []string{"POST old body", "POST new body"})
}

// A request is repeated at most once, and not with the same token.
func TestNew_RenewsTokenOnce(t *testing.T) {
	for token, want := range map[string][]string{"old": {"GET old"}, "other": {"GET old", "GET other"}} {
		file := filepath.Join(t.TempDir(), "token")
		write := func(token string) {
			if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
				t.Error(err)
			}
		}
		write("old")
		url, requests := tokenServer(t, func() { write(token) })
		client, err := New(&rest.Config{Host: url, BearerTokenFile: file})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("status %d", resp.StatusCode)
		}
		checkRequests(t, requests(), want)
	}
}
