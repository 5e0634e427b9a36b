package pod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"

	"k8s.io/apimachinery/pkg/labels"

	"kshell/internal/apiclient"
)

// Row is a pod as `kubectl get pods` prints it. All texts are from the server.
type Row struct{ Name, Ready, Status, Restarts, Age string }

// ErrNoTable means that the server does not return a list of pods as a Table.
var ErrNoTable = errors.New("the server does not support tables")

// acceptTable is the header Accept that asks for a Table of meta/v1. Kubernetes
// supports that since 1.15; other servers may return whole objects.
const acceptTable = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json"

// tableRow is a row of a Table.
type tableRow struct {
	Cells  []any `json:"cells"`
	Object struct {
		Metadata struct {
			Labels labels.Set `json:"labels"`
		} `json:"metadata"`
	} `json:"object"` // only with a selector
}

// Rows lists the pods in a namespace that match a label selector, sorted by name;
// "" matches all pods. It requests the rows that `kubectl get pods` prints, which
// are much smaller than the pods. The error is ErrNoTable, or one of List.
func (c *Client) Rows(ctx context.Context, namespace, selector string) ([]Row, error) {
	set, err := newSelectorSet(namespace, selector)
	if err != nil {
		return nil, err
	}
	var rows []Row
	kept, ignored := 0, false
	_, err = apiclient.Pages[tableRow]{
		Noun: "pods",
		Open: func(ctx context.Context, page url.Values) (io.ReadCloser, error) {
			return c.openRows(ctx, namespace, set, page)
		},
		Begin: func() { rows, kept = nil, 0 },
		Add: func(r *tableRow) error {
			row, err := r.row()
			if err != nil {
				return err
			}
			if !set.selector.Matches(r.Object.Metadata.Labels) {
				ignored = true
				return nil
			}
			if kept += row.size(); kept > apiclient.MaxKept {
				return &apiclient.TooLargeError{What: "the list of pods", Limit: apiclient.MaxKept}
			}
			rows = append(rows, row)
			return nil
		},
	}.Read(ctx)
	if ignored {
		c.selectorIgnored()
	}
	switch {
	case errors.Is(err, ErrNoTable):
		return nil, ErrNoTable
	case err != nil:
		return nil, c.explainMissing(ctx, namespace, &RequestError{
			Verb: "list", Resource: "pods", Namespace: namespace, Target: Target{Kind: kindPod}, Server: c.server, Err: err,
		})
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Name, b.Name) })
	return rows, nil
}

// openRows requests one page. The labels of the pods are included if there is a
// selector, because some servers ignore selectors.
func (c *Client) openRows(ctx context.Context, namespace string, set *podSet, page url.Values) (io.ReadCloser, error) {
	r := c.groups[""].Get().Namespace(namespace).Resource("pods").SetHeader("Accept", acceptTable)
	for name := range page {
		r = r.Param(name, page.Get(name))
	}
	include := "None"
	if !set.selector.Empty() {
		r, include = r.Param("labelSelector", set.selector.String()), "Metadata"
	}
	return r.Param("includeObject", include).Stream(ctx)
}

// row returns the first five cells as a Row. In all versions of Kubernetes, they are
// the fields of Row. The error is ErrNoTable if r is a pod instead of a row.
func (r *tableRow) row() (Row, error) {
	if len(r.Cells) < 5 {
		return Row{}, ErrNoTable
	}
	text := func(i int) string { return fmt.Sprint(r.Cells[i]) }
	return Row{Name: text(0), Ready: text(1), Status: text(2), Restarts: text(3), Age: text(4)}, nil
}

// size estimates the memory that a row takes, in bytes.
func (r *Row) size() int {
	return 80 + len(r.Name) + len(r.Ready) + len(r.Status) + len(r.Restarts) + len(r.Age)
}
