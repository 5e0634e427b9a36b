package pod

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// tableServer starts a server that lists n pods in Tables, the last one first. It
// counts the requests in pages. A request without a selector must not ask for objects. Every
// second pod has the label app=web; the server ignores selectors.
func tableServer(t *testing.T, n int, pages *int) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*pages++
		query := r.URL.Query()
		include := "None"
		if query.Get("labelSelector") != "" {
			include = "Metadata"
		}
		if r.Header.Get("Accept") != acceptTable || query.Get("limit") != "500" || query.Get("includeObject") != include {
			t.Errorf("Accept %q, query %q", r.Header.Get("Accept"), r.URL.RawQuery)
		}
		from, _ := strconv.Atoi(query.Get("continue")) // 0 in the first request
		to := min(from+500, n)
		table := metav1.Table{TypeMeta: metav1.TypeMeta{Kind: "Table"}}
		for i := from; i < to; i++ {
			row := metav1.TableRow{Cells: []any{fmt.Sprintf("pod-%04d", n-1-i), "1/1", "Running", i, "5m", "10.0.0.1"}}
			if include != "None" {
				app := []string{"web", "db"}[i%2]
				row.Object.Raw = fmt.Appendf(nil, `{"metadata":{"labels":{"app":%q}}}`, app)
			}
			table.Rows = append(table.Rows, row)
		}
		if to < n {
			table.Continue = strconv.Itoa(to)
		}
		_ = json.NewEncoder(w).Encode(table)
	}))
	t.Cleanup(s.Close)
	client, err := NewClient(&rest.Config{Host: s.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestRows_PagesWithoutObjects(t *testing.T) {
	pages := 0
	rows, err := tableServer(t, 1200, &pages).Rows(t.Context(), "shop", "")
	if err != nil || len(rows) != 1200 || pages != 3 {
		t.Fatalf("%d rows in %d pages, %v", len(rows), pages, err)
	}
	want := Row{Name: "pod-0000", Ready: "1/1", Status: "Running", Restarts: "1199", Age: "5m"}
	if diff := cmp.Diff(want, rows[0]); diff != "" {
		t.Errorf("first row (-want +got):\n%s", diff)
	}
}

func TestRows_SelectorIgnored(t *testing.T) {
	pages := 0
	rows, err := tableServer(t, 10, &pages).Rows(t.Context(), "shop", "app=web")
	if err != nil || len(rows) != 5 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestRows_Errors(t *testing.T) {
	a := newFakeAPI(t, map[string]any{core + "pods": podList(runningPod("web-a"))})
	if _, err := a.client.Rows(t.Context(), "shop", ""); !errors.Is(err, ErrNoTable) {
		t.Errorf("whole objects: got %v", err)
	}
	var wrong *TargetError
	if _, err := a.client.Rows(t.Context(), "shop", "app=web=x"); !errors.As(err, &wrong) {
		t.Errorf("wrong selector: got %v", err)
	}
	var refused *RequestError
	if _, err := newFakeAPI(t, nil).client.Rows(t.Context(), "shop", ""); !errors.As(err, &refused) {
		t.Errorf("no answer: got %v", err)
	}
}
