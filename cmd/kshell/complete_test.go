package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"kshell/internal/pod"
)

// The table of types stands beside that of package pod: whatever that knows is completed.
func TestEveryTypeOfPodsIsOffered(t *testing.T) {
	_, err := pod.ParseTarget("gizmo/web")
	known := regexp.MustCompile(`\b([a-z]{3,})\b(?: \((\w+)\))?`).FindAllStringSubmatch(strings.TrimPrefix(errorTextOf(err).Hint, "the types are "), -1)
	if len(known) != len(types) {
		t.Errorf("%d types are known, %d offered", len(known), len(types))
	}
	for _, k := range known {
		found := false
		for _, ty := range types {
			found = found || ty.kind == k[1] && (ty.short == k[2] || k[2] == "")
		}
		if !found {
			t.Errorf("%q is not offered", k[1:])
		}
	}
	for _, ty := range types {
		for _, typed := range []string{ty.kind, ty.short, ty.kind + "s"} {
			if target, err := pod.ParseTarget(typed + "." + ty.group + "/web"); ty.group != "" && (err != nil || target.Kind != ty.kind) {
				t.Errorf("%s is no %s of group %q: %v", typed, ty.kind, ty.group, err)
			}
			if target, err := pod.ParseTarget(typed + "/web"); err != nil || target.Kind != ty.kind {
				t.Errorf("%s is no %s: %v", typed, ty.kind, err)
			}
		}
	}
}

func TestATypeIsOfferedInTheSpellingThatWasBegun(t *testing.T) {
	for typed, want := range map[string][]string{
		"dep":          {"deployment/"},
		"deployments":  {"deployments/"},
		"sts":          {"sts/"},
		"po":           {"pod/"},
		"re":           {"replicaset/", "replicationcontroller/"},
		"web":          nil,
		"deployment-x": nil,
	} {
		if diff := cmp.Diff(want, typesFor(typed)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", typed, diff)
		}
	}
	if all := typesFor(""); len(all) != len(types) {
		t.Errorf("of nothing typed: %q", all)
	}
}

// manyPods is a server that lists the names, so many a page, and counts the pages that it was asked for.
func manyPods(t *testing.T, pages *int, perPage int, names []string) *rest.Config {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*pages++
		if got := r.Header.Get("Accept"); !strings.HasPrefix(got, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io") {
			t.Errorf("whole objects were asked for: Accept %q", got)
		}
		if got := r.URL.Query().Get("limit"); got != "500" {
			t.Errorf("limit %q", got)
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue")) // none: 0
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

func TestALargeNamespaceIsReadNoFurtherThanNeeded(t *testing.T) {
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
		{"behind all", "z", 0, 4},
		{"no more than can be read", "", 500, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pages := 0
			got := namesAt(t.Context(), manyPods(t, &pages, 500, names), "/api/v1/namespaces/default/pods", tt.prefix)
			if len(got) != tt.found || pages != tt.pages {
				t.Errorf("%d names in %d pages, want %d in %d", len(got), pages, tt.found, tt.pages)
			}
		})
	}
}

func TestWhatCouldHarmAShellIsNotOffered(t *testing.T) {
	pages := 0
	cfg := manyPods(t, &pages, 500, []string{"a\x1b[2J", "b\nc", "d\te", "good", "right\u202eleft"})
	if diff := cmp.Diff([]string{"good"}, namesAt(t.Context(), cfg, "/api/v1/namespaces/default/pods", "")); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"my context"}, beginning("my", []string{"my context", "my\x9bcontext", "your context"})); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestAnAnswerComesInTimeOrNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		begun := time.Now()
		names := timely(&cobra.Command{}, func(context.Context) []string {
			<-stuck
			return []string{"late"}
		})
		if took := time.Since(begun); names != nil || took != completionBudget {
			t.Errorf("%q after %v", names, took)
		}
		names = timely(&cobra.Command{}, func(ctx context.Context) []string {
			<-ctx.Done()
			return []string{"half"}
		})
		if diff := cmp.Diff([]string{"half"}, names); diff != "" {
			t.Errorf("what was there in time (-want +got):\n%s", diff)
		}
	})
}
