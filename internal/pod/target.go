package pod

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"kshell/internal/similar"
)

// The values of Target.Kind.
const (
	kindPod         = "pod"
	kindDeployment  = "deployment"
	kindReplicaSet  = "replicaset"
	kindStatefulSet = "statefulset"
	kindDaemonSet   = "daemonset"
	kindJob         = "job"
	kindController  = "replicationcontroller"
	kindService     = "service"
)

type kind struct {
	name     string
	resource string   // plural, as in API paths
	group    string   // "" is the core group; the version is v1 in all groups
	short    []string // short names in kubectl
}

// kinds lists the supported kinds, in the order in which users see them.
var kinds = []kind{
	{kindPod, "pods", "", []string{"po"}},
	{kindDeployment, "deployments", "apps", []string{"deploy"}},
	{kindReplicaSet, "replicasets", "apps", []string{"rs"}},
	{kindStatefulSet, "statefulsets", "apps", []string{"sts"}},
	{kindDaemonSet, "daemonsets", "apps", []string{"ds"}},
	{kindJob, "jobs", "batch", nil},
	{kindController, "replicationcontrollers", "", []string{"rc"}},
	{kindService, "services", "", []string{"svc"}},
}

// Target names a pod, or a workload or service that has pods.
type Target struct {
	Kind string // singular and lower case: "pod", "deployment"
	Name string
}

// String returns the target as users type it: "deployment/web".
func (t Target) String() string { return t.Kind + "/" + t.Name }

// ParseTarget parses POD or TYPE/NAME. TYPE is as in kubectl: singular, plural
// or short, in upper or lower case, with or without its group
// ("deployments.apps", "deployments.v1.apps"). Every error is a *TargetError.
func ParseTarget(arg string) (Target, error) {
	typed, name, slash := strings.Cut(arg, "/")
	if !slash {
		typed, name = kindPod, arg
	}
	kind, ok := findKind(typed)
	if !ok {
		err := unknownKind(typed)
		err.Type, err.Name = typed, name
		err.Similar = similar.Names(typed, suggestions())
		return Target{}, err
	}
	if name == "" {
		return Target{}, &TargetError{
			text: fmt.Sprintf("%q lacks the name of a %s", arg, kind.name),
			hint: fmt.Sprintf("type POD or TYPE/NAME, such as %s/web", kind.name),
		}
	}
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return Target{}, &TargetError{
			text: fmt.Sprintf("%q is not a valid name of a %s", name, kind.name),
			hint: "names consist of a-z, 0-9, '-' and '.', and begin and end with a letter or digit; " +
				"type POD or TYPE/NAME",
		}
	}
	return Target{Kind: kind.name, Name: name}, nil
}

// findKind returns the kind for a TYPE as users type it.
func findKind(typed string) (kind, bool) {
	typed, group, qualified := strings.Cut(strings.ToLower(typed), ".")
	for _, k := range kinds {
		if typed != k.name && typed != k.resource && !slices.Contains(k.short, typed) {
			continue
		}
		return k, !qualified || group == k.group || group == "v1."+k.group
	}
	return kind{}, false
}

// suggestions returns the names of types that can be suggested: the singular and the
// short names.
func suggestions() []string {
	var all []string
	for _, k := range kinds {
		all = append(all, k.name)
		all = append(all, k.short...)
	}
	return all
}

func unknownKind(typed string) *TargetError {
	known := make([]string, 0, len(kinds))
	for _, k := range kinds {
		for _, short := range k.short {
			k.name += " (" + short + ")"
		}
		known = append(known, k.name)
	}
	return &TargetError{
		text: fmt.Sprintf("type %q is not supported", typed),
		hint: "the types are " + strings.Join(known, ", "),
	}
}

// TargetError means that an argument, a selector or a manifest does not name a
// Target: a usage error.
type TargetError struct {
	// Type and Name are the parts of TYPE/NAME as they were typed, if the type
	// is not supported; otherwise "".
	Type, Name string
	// Similar are the supported types that the user may have meant by Type.
	Similar []string

	text, hint string
}

// Error returns what is wrong.
func (e *TargetError) Error() string { return e.text }

// Hint tells the user what to type instead.
func (e *TargetError) Hint() string {
	return cmp.Or(e.DidYouMean(), e.hint)
}

// DidYouMean returns a question that suggests the types in Similar, or "".
func (e *TargetError) DidYouMean() string {
	targets := make([]string, len(e.Similar))
	for i, kind := range e.Similar {
		targets[i] = kind + "/" + e.Name
	}
	return similar.Question(targets)
}
