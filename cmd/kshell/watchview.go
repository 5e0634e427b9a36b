package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/labels"

	"kshell/internal/notice"
	"kshell/internal/stream"
)

// The errors of watchView.change that end a watch without a failure.
var (
	errListed   = errors.New("the list is complete (--once)")
	errCameTrue = errors.New("all objects are as --until requests")
)

// watchView prints changes, and determines when --once and --until end the
// command. It is not safe for concurrent use.
type watchView struct {
	plan     *watchPlan
	out      io.Writer
	now      func() time.Time
	several  bool                       // clusters
	clusters map[string]*clusterObjects // by name
	widths   []int                      // of the columns, in characters; nil before the header is printed
	ignored  func()                     // called for an object that the label selector does not match; may be nil
	empty    func(cluster string)       // called if the first list of a cluster is empty; may be nil
}

// clusterObjects are the objects of one cluster that are shown.
type clusterObjects struct {
	listed bool            // Synced was delivered at least once
	synced bool            // the last of Synced and Stale was Synced
	rows   [][]string      // of the list, until it is complete
	ready  map[string]bool // whether an object is ready, by objectKey; false without --until=ready
}

func newWatchView(p *watchPlan, clusters []watched, out io.Writer, now func() time.Time) *watchView {
	v := &watchView{plan: p, out: out, now: now, several: len(clusters) > 1, clusters: map[string]*clusterObjects{}}
	for _, c := range clusters {
		v.clusters[c.name] = &clusterObjects{ready: map[string]bool{}}
	}
	return v
}

// objectKey returns what identifies an object in a cluster.
func objectKey(m stream.Meta) string { return cmp.Or(m.UID, m.Namespace+"/"+m.Name) }

// change prints a change of a cluster. The error is errListed, errCameTrue, or
// that of writing.
func (v *watchView) change(cluster string, c stream.Change[stream.Object]) error {
	objects := v.clusters[cluster]
	switch c.Type {
	case stream.Synced:
		objects.synced = true
	case stream.Stale:
		objects.synced = false
	default:
		if c = v.checkLabels(objects, c); c.Object == nil {
			return nil
		}
		objects.apply(v.plan, c)
	}
	if err := v.print(cluster, objects, c); err != nil {
		return &stream.OutputError{Err: err}
	}
	if c.Type == stream.Synced && !objects.listed {
		objects.listed = true
		if len(objects.ready) == 0 && v.empty != nil {
			v.empty(cluster)
		}
	}
	if v.plan.once && objects.listed {
		return errListed
	}
	return v.checkUntil()
}

// drop removes a cluster whose watch has failed. It returns errCameTrue if the
// condition of --until is true for the other clusters.
func (v *watchView) drop(cluster string) error {
	delete(v.clusters, cluster)
	if len(v.clusters) == 0 {
		return nil
	}
	return v.checkUntil()
}

// checkLabels checks the labels of an object, because a cache between kshell and
// the server may ignore the selector. If they do not match, the object is
// removed from c, or reported as deleted if it was shown before.
func (v *watchView) checkLabels(
	objects *clusterObjects, c stream.Change[stream.Object],
) stream.Change[stream.Object] {
	if v.plan.labels == nil {
		return c
	}
	var object struct {
		Metadata struct{ Labels map[string]string }
	}
	if json.Unmarshal(c.Object.JSON, &object) == nil && v.plan.labels.Matches(labels.Set(object.Metadata.Labels)) {
		return c
	}
	if _, shown := objects.ready[objectKey(c.Object.Meta)]; shown {
		c.Type = stream.Deleted
		return c
	}
	c.Object = nil
	if v.ignored != nil && c.Type != stream.Deleted {
		v.ignored()
	}
	return c
}

// apply updates the objects by a change of one object.
func (o *clusterObjects) apply(p *watchPlan, c stream.Change[stream.Object]) {
	key := objectKey(c.Object.Meta)
	if c.Type == stream.Deleted {
		delete(o.ready, key)
		return
	}
	o.ready[key] = p.until == untilReady && p.kind.Ready(c.Object.JSON)
}

// checkUntil returns errCameTrue if the condition of --until is true: for
// untilDeleted, there are no objects; for untilReady, there is at least one, and
// all are ready.
func (v *watchView) checkUntil() error {
	if v.plan.until == "" {
		return nil
	}
	count := 0
	for _, objects := range v.clusters {
		if !objects.synced {
			return nil
		}
		count += len(objects.ready)
		for _, ready := range objects.ready {
			if !ready {
				return nil
			}
		}
	}
	if v.plan.until == untilReady && count == 0 {
		return nil
	}
	return errCameTrue
}

// print prints a change.
func (v *watchView) print(cluster string, objects *clusterObjects, c stream.Change[stream.Object]) error {
	switch {
	case v.plan.format == formatJSON:
		_, err := v.out.Write(jsonLine(cluster, c))
		return err
	case v.plan.format == formatName && c.Object != nil:
		_, err := fmt.Fprintf(v.out, "%s/%s\n", v.plan.kind.Name, notice.Clean(c.Object.Meta.Name))
		return err
	case v.plan.format == formatName:
		return nil
	case c.Object != nil && !objects.listed: // so that the columns of the list are aligned
		objects.rows = append(objects.rows, v.row(cluster, c))
		return nil
	case c.Object != nil:
		return v.printRows([][]string{v.row(cluster, c)})
	case c.Type == stream.Synced && !objects.listed:
		rows := objects.rows
		objects.rows = nil
		return v.printRows(rows)
	}
	return nil
}

// jsonLine returns the line of -o json for a change. The bytes of the object
// are not changed, unless they contain a line break.
func jsonLine(cluster string, c stream.Change[stream.Object]) []byte {
	head := struct {
		Cluster string            `json:"cluster"`
		Type    stream.ChangeType `json:"type"`
		Error   string            `json:"error,omitempty"` // of STALE
	}{Cluster: cluster, Type: c.Type}
	if c.Err != nil {
		head.Error = notice.Clean(c.Err.Error())
	}
	line := notice.JSON(head)
	if c.Object == nil {
		return line
	}
	object := []byte(c.Object.JSON)
	if bytes.ContainsAny(object, "\r\n") {
		var b bytes.Buffer
		if json.Compact(&b, object) == nil {
			object = b.Bytes()
		}
	}
	line = append(bytes.TrimSuffix(line, []byte("}\n")), `,"object":`...)
	return append(append(line, object...), '}', '\n')
}

// header returns the titles of the columns.
func (v *watchView) header() []string {
	titles := []string{"TIME", "CHANGE"}
	if v.several {
		titles = append(titles, "CLUSTER")
	}
	if v.plan.hasNamespaces() {
		titles = append(titles, "NAMESPACE")
	}
	return append(titles, v.plan.kind.Header(v.plan.format == formatWide)...)
}

// row returns the cells of a change.
func (v *watchView) row(cluster string, c stream.Change[stream.Object]) []string {
	now, wide := v.now(), v.plan.format == formatWide
	cells := []string{now.Format(time.TimeOnly), string(c.Type)}
	if v.several {
		cells = append(cells, cluster)
	}
	if v.plan.hasNamespaces() {
		cells = append(cells, c.Object.Meta.Namespace)
	}
	own, err := v.plan.kind.Row(c.Object.JSON, now, wide)
	if err != nil { // the server uses another version of the type
		titles := v.plan.kind.Header(wide)
		own = slices.Repeat([]string{"?"}, len(titles))
		if i := slices.Index(titles, "NAME"); i >= 0 {
			own[i] = c.Object.Meta.Name
		}
	}
	cells = append(cells, own...)
	for i := range cells {
		cells[i] = notice.Clean(cells[i])
	}
	return cells
}

// columnGap is the number of spaces between columns. A cell that is longer than
// maxColumn does not make its column wider.
const (
	columnGap = 3
	maxColumn = 60 // characters
)

// printRows prints rows, and the header before the first ones. A column is as
// wide as its widest cell so far.
func (v *watchView) printRows(rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	if v.widths == nil {
		rows = slices.Insert(rows, 0, v.header())
		v.widths = make([]int, len(rows[0]))
	}
	for _, row := range rows {
		for i, cell := range row {
			if n := utf8.RuneCountInString(cell); n <= maxColumn {
				v.widths[i] = max(v.widths[i], n)
			}
		}
	}
	var b strings.Builder
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			line += cell + strings.Repeat(" ", max(v.widths[i]-utf8.RuneCountInString(cell), 0)+columnGap)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(v.out, b.String())
	return err
}
