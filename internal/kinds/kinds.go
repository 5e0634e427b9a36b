// Package kinds describes the types of objects that kshell watch knows: their
// names, their API paths, the columns of their tables, and when an object is
// ready. The columns are those of kubectl get.
//
// It does not know how objects are requested, or where tables are printed.
//
//   - kinds.go: the table of types, and what a caller gets
//   - core.go, workloads.go: the columns of each type
//   - podstatus.go: the column STATUS of a pod
//
// Invariants:
//   - Cells contain the text of the server. The caller must clean them.
//   - An object is decoded from JSON each time, so that a caller needs to keep
//     only its bytes.
package kinds

import (
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

// Kind is a type of objects.
type Kind struct {
	Name       string // singular, as users type it: "deployment"
	Resource   string // plural, as in API paths: "deployments"
	Namespaced bool

	group  string   // "" is the core group; the version is v1 in all groups
	short  []string // short names in kubectl
	path   string   // of the list, if it was given with --raw; otherwise ""
	header []string // titles of the columns
	wide   []string // titles of the columns that follow header with -o wide
	row    func(object []byte, now time.Time) (row, error)
	ready  func(object []byte) bool // nil if the objects of this type are never ready
}

// row holds the cells of an object.
type row struct {
	cells []string // one for each title in Kind.header
	wide  []string // one for each title in Kind.wide
}

// all lists the types in the order in which users see them.
func all() []Kind { return slices.Concat(coreKinds(), workloadKinds()) }

// Find returns the type for a name as users type it in kubectl: singular,
// plural or short, in upper or lower case, with or without its group
// ("deployments.apps", "deployments.v1.apps").
func Find(typed string) (Kind, bool) {
	name, group, qualified := strings.Cut(strings.ToLower(typed), ".")
	for _, k := range all() {
		if slices.Contains(k.spellings(), name) {
			return k, !qualified || group == k.group || group == "v1."+k.group
		}
	}
	return Kind{}, false
}

func (k *Kind) spellings() []string {
	return slices.Concat([]string{k.Resource, k.Name}, k.short)
}

// Names returns the plurals of all types, each followed by its short name in
// parentheses if it has one.
func Names() []string {
	var names []string
	for _, k := range all() {
		name := k.Resource
		if len(k.short) > 0 {
			name += " (" + k.short[0] + ")"
		}
		names = append(names, name)
	}
	return names
}

// Suggestions returns the plurals and the short names of all types.
func Suggestions() []string {
	var names []string
	for _, k := range all() {
		names = append(names, k.Resource)
		names = append(names, k.short...)
	}
	return names
}

// Complete returns the types that Find accepts and that begin with prefix, each
// in one spelling: the plural, the singular or the short name, whichever matches
// first.
func Complete(prefix string) []string {
	var names []string
	for _, k := range all() {
		spellings := k.spellings()
		if i := slices.IndexFunc(spellings, func(s string) bool { return strings.HasPrefix(s, prefix) }); i >= 0 {
			names = append(names, spellings[i])
		}
	}
	return names
}

// Path returns the path of the list of the objects in a namespace, escaped, to
// be appended to the server's URL. If namespace is "", or the type has no
// namespaces, it is the list of all objects.
func (k *Kind) Path(namespace string) string {
	if k.path != "" {
		return k.path
	}
	root := "/api/v1"
	if k.group != "" {
		root = "/apis/" + k.group + "/v1"
	}
	if k.Namespaced && namespace != "" {
		root += "/namespaces/" + escape(namespace)
	}
	return root + "/" + k.Resource
}

// escape escapes one segment of a path. It also escapes "." and "..", which
// would otherwise name another path.
func escape(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// Raw returns a type for the list at an API path: /api/v1/… or
// /apis/GROUP/VERSION/…. Of its objects, only the metadata and the conditions
// Ready and Available are known. ok is false if the path is not that of a list.
func Raw(apiPath string) (k Kind, ok bool) {
	parts := strings.Split(strings.Trim(apiPath, "/"), "/")
	rest, namespaced := rawResource(parts)
	if len(rest) != 1 || slices.Contains(parts, "") || strings.ContainsAny(apiPath, "?#") ||
		path.Clean("/"+strings.Join(parts, "/")) != "/"+strings.Join(parts, "/") {
		return Kind{}, false
	}
	return Kind{
		Name: rest[0], Resource: rest[0], Namespaced: !namespaced, path: "/" + strings.Join(parts, "/"),
		header: []string{"NAME", "AGE"}, row: rowOf(rawRow), ready: readyIf(rawReady),
	}, true
}

// rawResource returns the segments of an API path after its version and
// namespace. namespaced reports whether there is a namespace.
func rawResource(parts []string) (rest []string, namespaced bool) {
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return nil, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		return parts[2:], true
	}
	return parts, false
}

// Header returns the titles of the columns.
func (k *Kind) Header(wide bool) []string {
	if wide {
		return slices.Concat(k.header, k.wide)
	}
	return k.header
}

// Row returns the cells of an object, which is JSON. now is the time at which
// ages are computed.
func (k *Kind) Row(object []byte, now time.Time, wide bool) ([]string, error) {
	r, err := k.row(object, now)
	if err != nil {
		return nil, err
	}
	if wide {
		return slices.Concat(r.cells, r.wide), nil
	}
	return r.cells, nil
}

// HasReady reports whether objects of this type can be ready.
func (k *Kind) HasReady() bool { return k.ready != nil }

// Ready reports whether an object, which is JSON, is ready. What that means
// depends on the type: for example, that all pods of a deployment are
// available, or that a job is complete. An object that cannot be decoded is not
// ready.
func (k *Kind) Ready(object []byte) bool { return k.ready != nil && k.ready(object) }

// rowOf returns a function for Kind.row that decodes the object into a T.
func rowOf[T any](f func(object *T, now time.Time) row) func([]byte, time.Time) (row, error) {
	return func(data []byte, now time.Time) (row, error) {
		var object T
		if err := json.Unmarshal(data, &object); err != nil {
			return row{}, err
		}
		return f(&object, now), nil
	}
}

// readyIf returns a function for Kind.ready that decodes the object into a T.
func readyIf[T any](f func(object *T) bool) func([]byte) bool {
	return func(data []byte) bool {
		var object T
		return json.Unmarshal(data, &object) == nil && f(&object)
	}
}

// rawObject is an object of an unknown type.
type rawObject struct {
	metav1.ObjectMeta `json:"metadata"`
	Status            any `json:"status"`
}

func rawRow(o *rawObject, now time.Time) row {
	return row{cells: []string{o.Name, age(o.CreationTimestamp, now)}}
}

// rawReady reports whether a condition named Ready or Available is true.
func rawReady(o *rawObject) bool {
	status, _ := o.Status.(map[string]any)
	conditions, _ := status["conditions"].([]any)
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, _ := c.(map[string]any)
		kind := condition["type"]
		return (kind == "Ready" || kind == "Available") && condition["status"] == "True"
	})
}

// age returns how long ago t was.
func age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}
