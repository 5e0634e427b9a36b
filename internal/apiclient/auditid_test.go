package apiclient

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"k8s.io/client-go/rest"
)

func TestNewAuditID(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	first, second := NewAuditID(), NewAuditID()
	if !uuid.MatchString(first) || !uuid.MatchString(second) || first == second {
		t.Errorf("IDs %s and %s", first, second)
	}
}

func TestSetAuditID(t *testing.T) {
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Values("Audit-ID")...)
	}))
	defer server.Close()
	cfg := &rest.Config{Host: server.URL}
	SetAuditID(cfg, "one")
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(got) != 2 || got[0] != "one" || got[1] != "one" {
		t.Errorf("the server got the IDs %q", got)
	}
	if len(req.Header) != 0 {
		t.Errorf("the request of the caller was changed: %v", req.Header)
	}
}
