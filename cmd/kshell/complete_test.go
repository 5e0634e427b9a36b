package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
)

// podServer starts a server that lists pods with the given names, perPage of
// them in each page. It counts the requests in the variable pages.
func podServer(t *testing.T, pages *int, perPage int, names []string) *rest.Config {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*pages++
		const metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
		if got := r.Header.Get("Accept"); !strings.HasPrefix(got, metadata) {
			t.Errorf("Accept %q does not ask for metadata only", got)
		}
		if got := r.URL.Query().Get("limit"); got != "500" {
			t.Errorf("limit %q", got)
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue")) // 0 in the first request
		to := min(from+perPage, len(names))
		list := map[string]any{"metadata": map[string]string{"continue": strconv.Itoa(to)}}
		if to == len(names) {
			list["metadata"] = map[string]string{}
		}
		var items []any
		for _, name := range names[from:to] {
			items = append(items, map[string]any{"metadata": map[string]string{"name": name}})
		}
		list["items"] = items
		_ = json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(s.Close)
	return &rest.Config{Host: s.URL + "/k8s/clusters/one"}
}

func TestListNames_Pages(t *testing.T) {
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("pod-%04d", i))
	}
	for _, tt := range []struct {
		name, prefix string
		found, pages int
	}{
		{"in the middle", "pod-07", 100, 2},
		{"to the end", "pod-19", 100, 4},
		{"before all", "a", 0, 1},
		{"after all", "z", 0, 4},
		{"limit", "", 500, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pages := 0
			got := listNames(t.Context(), podServer(t, &pages, 500, names), "/api/v1/namespaces/default/pods", tt.prefix)
			if len(got) != tt.found || pages != tt.pages {
				t.Errorf("%d names in %d pages, want %d in %d", len(got), pages, tt.found, tt.pages)
			}
		})
	}
}

func TestCompletion_HarmfulNames(t *testing.T) {
	pages := 0
	cfg := podServer(t, &pages, 500, []string{"a\x1b[2J", "b\nc", "d\te", "good", "right\u202eleft", "two\u2028lines"})
	if diff := cmp.Diff([]string{"good"}, listNames(t.Context(), cfg, "/api/v1/namespaces/default/pods", "")); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	names := offerable([]string{"my context", "my\x9bcontext", "your context"}, "my")
	if diff := cmp.Diff([]string{"my context"}, names); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestTimely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		start := time.Now()
		names := newTestApp().timely(&cobra.Command{}, func(context.Context) []string {
			<-stuck
			return []string{"late"}
		})
		if took := time.Since(start); names != nil || took != completionBudget {
			t.Errorf("%q after %v", names, took)
		}
		names = newTestApp().timely(&cobra.Command{}, func(ctx context.Context) []string {
			<-ctx.Done()
			return []string{"incomplete"}
		})
		if diff := cmp.Diff([]string{"incomplete"}, names); diff != "" {
			t.Errorf("incomplete result (-want +got):\n%s", diff)
		}
	})
}
